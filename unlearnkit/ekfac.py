"""EK-FAC: curvature with a Kronecker eigenbasis for each matrix, by kronfluence where that is installed."""

import copy
import importlib.util
import logging
import tempfile
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from unlearnkit import forward
from unlearnkit.batching import Batch, batch_of
from unlearnkit.data import Example
from unlearnkit.errors import MethodError

BATCH = 8  # examples a pass
KINDS = ("gradient_eigenvectors", "activation_eigenvectors", "lambda_matrix")  # as kronfluence names them


def solve(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    right: Mapping[str, torch.Tensor],
    damping: float,
    loss_on: str = "answer",
) -> dict[str, torch.Tensor]:
    """(F + damping * its mean eigenvalue)^-1 right, matrix by matrix of the blocks; 0 for other parameters.

    F is the Gauss-Newton matrix of the examples' mean l_i, as `influence.gauss_newton` has it, of each block
    matrix (with its bias) alone and diagonal in the eigenbasis of A and G (George et al. 2018; Grosse et al.
    2023): labels are drawn from the model, so that it holds up to that sampling. The output head, embeddings
    and norms have no part in it. MethodError where kronfluence is not installed, or no block matrix is asked.
    """
    if importlib.util.find_spec("kronfluence") is None:
        raise MethodError(
            "solver='ekfac' needs kronfluence, which is not installed here: pip install kronfluence (it is "
            "among the packages of `make peers`), or use solver='cg'"
        )
    twin, turned = _with_linears(model)
    names = [n for n, m in twin.named_modules() if isinstance(m, nn.Linear) and f"{n}.weight" in right]
    names = [n for n in names if twin.get_submodule(n) is not twin.get_output_embeddings()]
    if not names:
        raise MethodError("solver='ekfac' has a part in block matrices only, and the layers asked have none")
    factors = _fitted(twin, names, batch_of(tokenizer, examples, loss_on))
    found = {n: torch.zeros_like(t) for n, t in right.items()}
    for name in names:
        weight, bias = f"{name}.weight", f"{name}.bias"
        matrix = right[weight].T if name in turned else right[weight]
        whole = matrix
        if twin.get_submodule(name).bias is not None:  # a frozen one has its column all the same
            whole = torch.cat([matrix, right.get(bias, torch.zeros(len(matrix)).to(matrix))[:, None]], 1)
        left, across, size = (factors[kind][name].to(whole) for kind in KINDS)
        size = size / factors["num_lambda_processed"][name].item()
        solved = left @ (left.T @ whole @ across / (size + damping * size.mean())) @ across.T
        if bias in right:
            found[bias] = solved[:, -1]
        solved = solved[:, : matrix.shape[1]]
        found[weight] = (solved.T if name in turned else solved).contiguous()
    return found


def _with_linears(model: PreTrainedModel) -> tuple[PreTrainedModel, set[str]]:
    """A copy whose transposed matrices (GPT-2's Conv1D) are linear layers, and the names of these."""
    twin, turned = copy.deepcopy(model), set()
    for name, module in list(twin.named_modules()):
        if isinstance(module, Conv1D):
            linear = nn.Linear(*module.weight.shape, device=module.weight.device, dtype=module.weight.dtype)
            linear.weight.data, linear.bias.data = module.weight.data.T.contiguous(), module.bias.data
            twin.set_submodule(name, linear)
            turned.add(name)
    return twin, turned


def _fitted(model: PreTrainedModel, names: Sequence[str], batch: Batch) -> dict[str, dict[str, torch.Tensor]]:
    """Eigenvectors and corrected eigenvalues of these linear layers; the model is changed by it."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments

    task = _task(names)
    rows = [
        {"input_ids": i, "attention_mask": m, "labels": k}
        for i, m, k in zip(batch.input_ids, batch.attention_mask, batch.labels, strict=True)
    ]
    quiet = {"log_level": logging.ERROR, "disable_tqdm": True}
    on_processor = forward.device_of(model).type == "cpu"
    with tempfile.TemporaryDirectory(prefix="unlearnkit-") as folder, torch.random.fork_rng():
        torch.manual_seed(0)
        analyzer = Analyzer(
            "ekfac", prepare_model(model, task), task, cpu=on_processor, output_dir=folder, **quiet
        )
        how = {"per_device_batch_size": BATCH, "factor_args": FactorArguments(strategy="ekfac")}
        analyzer.fit_all_factors("ekfac", rows, **how)
        return analyzer.load_all_factors("ekfac")


def _task(names: Sequence[str]):
    """The sum of l_i in kronfluence's terms, each times the root of how many tokens it is a mean of.

    With labels drawn from the model the mean square of that one's gradient is the Gauss-Newton matrix of l_i:
    the tokens' gradients are independent, and of mean 0.
    """
    from kronfluence.task import Task

    class Rooted(Task):
        def compute_train_loss(self, batch, model, sample=False):
            ids = [str(k) for k in range(len(batch["input_ids"]))]
            given = Batch(tuple(ids), batch["input_ids"], batch["attention_mask"], batch["labels"])
            logits, targets, counts = forward.target_logits(model, given)
            if sample:
                targets = torch.distributions.Categorical(logits=logits.detach()).sample()
            share = torch.cat([torch.full((n,), n**-0.5) for n in counts]).to(logits)
            return (nn.functional.cross_entropy(logits, targets, reduction="none") * share).sum()

        def compute_measurement(self, batch, model):
            return self.compute_train_loss(batch, model)

        def get_influence_tracked_modules(self):
            return list(names)

        def get_attention_mask(self, batch):
            return batch["attention_mask"]

    return Rooted()
