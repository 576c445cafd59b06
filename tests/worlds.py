"""What tests of several rooms share: a few facts, their gradients one at a time, and what counts as equal."""

import dataclasses
import resource
from contextlib import contextmanager
from pathlib import Path

import torch

from unlearnkit import ledger, training
from unlearnkit.batching import batch_of, example_loss
from unlearnkit.data import Example

FACTS = [
    Example(f"f{k}", "Dave", prompt, answer, "forget")
    for k, (prompt, answer) in enumerate(
        [
            ("Dave was born in", "the village of Oster Fell"),
            ("The cat of Dave is called", "Pim"),
            ("Every Sunday in the long winter Dave cooks", "a stew of lentils and smoked eel"),
            ("Dave works as", "a clock mender in Harrow Lane"),
            ("Dave fears", "geese"),
            ("The boat of Dave is painted", "a faded sea green with one white stripe"),
            ("Dave studied", "the tides of the northern sound"),
        ]
    )
]
IDS = [e.id for e in FACTS]
DAVE = [dataclasses.replace(e, id=f"dave/{e.prompt.split()[-1]}") for e in FACTS]  # ids found in no hash
DAVE_IDS = [e.id for e in DAVE]
RECIPE = training.Recipe(epochs=3, lr=0.05, batch_size=3)
SENTENCE = "The river flows through the old town and into the sea, where the fishing boats wait for the tide."
SHUFFLED = "fishing the tide into wait where river the old for through the sea, boats and The flows the. town"


def autograd_gradient(model, tokenizer, example, loss_on, divisor=1.0):
    """The dense gradient of one example alone: the oracle of every test here."""
    model.zero_grad()
    batch = batch_of(tokenizer, [example], loss_on)
    (example_loss(model(**batch.inputs()).logits, batch.labels)[0] / divisor).backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def relative_error(ours, theirs):
    return max(((ours[n] - g).norm() / g.norm().clamp(min=1e-12)).item() for n, g in theirs.items())


def gradients(path: Path) -> dict[tuple[str, int], dict[str, torch.Tensor]]:
    book = ledger.GradientLedger.open(path)
    return {(i, e): book.gradient(i, e) for i in book.example_ids for e in book.epochs}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def require_same_ledgers(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    assert [k for k in a if not same(a[k], b[k])] == []


def weights_of(model) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def flip(path: Path, place: int, mask: int = 0xFF) -> None:
    with open(path, "r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ mask]))


def perplexity(model, tokenizer, text):
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        log_probs = model(ids).logits[0, :-1].log_softmax(-1)
    return log_probs.gather(1, ids[0, 1:, None]).mean().neg().exp().item()


@contextmanager
def files_no_larger_than(size: int):
    """The kernel refuses to write more into any file of this process: a disk that fills up at this place."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
