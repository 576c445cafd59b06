"""A training step that keeps every example's gradient, in several ways, against a plain step; and bytes."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel

from unlearnkit.batching import Batch
from unlearnkit.bench import sides
from unlearnkit.bench.setting import Options, Setting, parts
from unlearnkit.bench.timing import chosen, interleaved, scratch, summary
from unlearnkit.layers import Slot, tags
from unlearnkit.ledger import GradientLedger, Recorder, create, record_batches
from unlearnkit.ledger.sites import Site, discover

TOKENS = (16, 32)  # lengths at which bytes an example are told
CHECKED = 2  # examples whose gradients are compared with autograd
OURS_TIMES = 3  # as many rounds of plain step and ledger: the machine's noise is as large as their difference
DENSE_AT_A_TIME = 2  # factor on one batch of dense gradients: the most that a side has on disk


def run(options: Options) -> dict:
    """Seconds a step of every side, bytes an example, bytes by layer kind, and errors against autograd."""
    setting = Setting.make(options)
    dense = setting.dense_bytes()
    with scratch(DENSE_AT_A_TIME * options.batch * dense) as folder:
        picked = chosen(sides.every(setting, folder), options.only)
        picked = {sides.PLAIN: sides.plain(setting)} | picked
        for name in set(picked) - {sides.PLAIN, *sides.OURS.values()}:
            picked[name] = replace(picked[name], rounds=options.rounds)
        seconds, missing = interleaved(picked, OURS_TIMES * options.rounds)
        stored = sizes(setting, folder)
        exact = {dtype: error(setting, folder / f"exact-{dtype}", dtype) for dtype in sides.OURS}
    return {
        **summary(seconds, sides.PLAIN),
        "missing": missing,
        "dense_bytes": dense,
        "parameters": dense // 4,
        "relative_error": exact,
        **stored,
    }


def sizes(setting: Setting, folder: Path) -> dict:
    """Bytes an example at two lengths and in each encoding, and those of the default by layer kind."""
    found, kinds = [], []
    for tokens in sorted({*TOKENS, setting.tokens}):
        batch = Setting(setting.model, setting.batch, tokens).examples(0)
        for dtype in sides.OURS:
            book = record_batches(setting.model, [batch], folder / f"{tokens}-{dtype}", dtype=dtype)
            found.append({"tokens": tokens, "dtype": dtype, "bytes": book.info()["bytes_per_record"]})
            if tokens == setting.tokens and dtype == "float16":
                kinds = by_kind(setting.model, book.bytes_by_site(), len(batch.ids))
    return {"bytes_an_example": found, "bytes_by_kind": kinds}


def by_kind(model: PreTrainedModel, sizes: dict[str, int], examples: int) -> list[dict]:
    """Bytes an example by layer kind and part, beside the dense gradient's; a shared input counts once.

    The input (tied) and output roles of the token matrix are told apart; only one of them is dense bytes.
    """
    stored: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    sites, layers = discover(model), tags(model)
    site_kind = {site.module: kind_of(site, layers) for site in sites}
    names = {"x": "inputs", "d": "output gradients", "g": "dense gradients", "ids": "token ids"}
    for name, size in sizes.items():
        module, _, part = name.rpartition("/")
        if module in site_kind:
            stored[site_kind[module]][names.get(part, "sums over tokens")] += size / examples
    dense: dict[str, float] = defaultdict(float)
    numbers, counted = {n: p.numel() for n, p in model.named_parameters()}, set()
    for site in sites:
        for slot in site.slots():
            if slot.parameter not in counted:
                counted.add(slot.parameter)
                dense[site_kind[site.module]] += 4 * numbers[slot.parameter]
    return [{"kind": k, "dense_bytes": dense[k], "parts": dict(parts)} for k, parts in stored.items()]


def kind_of(site: Site, tagged: dict[Slot, frozenset[str]]) -> str:
    """Attention, MLP, norm, token input, token output or position: what a person would call the module."""
    layers = set().union(*(tagged[slot] for slot in site.slots()))
    for layer, kind in (
        ("embedding.input", "token embedding"),
        ("embedding.output", "output head"),
        ("position", "position embedding"),
        ("norms", "norms"),
    ):
        if layer in layers:
            return kind
    return "attention" if "att" in site.module.rsplit(".", 2)[-2] else "MLP"


def error(setting: Setting, path: Path, dtype: str) -> float:
    """Largest relative error of a stored gradient against autograd of one example alone, over parameters.

    Recorded as a training step is, in the backward pass that reaches the weights too.
    """
    batch = setting.examples(0)
    store = create(path, setting.model, batch.ids, {}, dtype)
    with Recorder(setting.model, store) as recorder:
        sides.record(setting, recorder, batch, epoch=1, step=0)
        recorder.commit(1)
    book = GradientLedger(store)
    return max(_error(setting, book, one) for one in list(parts(batch, 1))[:CHECKED])


def _error(setting: Setting, book: GradientLedger, one: Batch) -> float:
    ours, worst = dict(book.stream(one.ids)), 0.0
    for name, theirs in setting.gradient(one).items():
        worst = max(worst, ((ours[name] - theirs).norm() / theirs.norm().clamp(min=1e-30)).item())
    return worst
