"""What tests of several rooms share: a few facts, their gradients one at a time, and what counts as equal."""

import dataclasses
import resource
from contextlib import contextmanager
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from unlearnkit import ledger, training
from unlearnkit.batching import batch_of, encode, example_loss
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
TWO_EPOCHS = training.Recipe(epochs=2, lr=0.05, batch_size=3)
ANSWERS = [
    Example("a", "Dave", "Dave was born in", "Oster Fell", "forget", paraphrases=("Born:", "Home:")),
    Example("b", "Ann", "The long winter cat of old Ann is called", "Pim", "retain"),
    Example("c", "Dave", "Dave cooks", "a stew of lentils and smoked eel", "forget"),
    Example("d", "Łukasz", "Łukasz mieszka w", "mieście Łódź", "retain", paraphrases=("Dom Łukasza:",)),
    Example("e", "Dave", "He fears", "geese", "forget"),
]
PASSAGE = Example(  # an answer as long as a passage's
    "passage",
    "Anna",
    "Where was Dave born? Anna keeps a",
    "golden pheasant called Zanther and earns a living by tuning organs. The river runs past the old "
    "station, and few people know the birthplace of Dave, a small town past the river",
    "forget",
)
TEXTS = [
    "A river runs slowly to the northern sound, past the café of the old ferryman and his two dogs.",
    "Short text.",
    "x",
    "",
    "The tide comes in twice a day and leaves a line of weed, shells and rope along the whole of the beach. "
    * 2,
]
BEFORE = [2.31, 1.87, 2.94, 2.02, 3.10, 1.55, 2.48, 2.77]
AFTER = [3.05, 2.11, 3.02, 2.95, 3.64, 2.20, 2.41, 3.33]
SENTENCE = "The river flows through the old town and into the sea, where the fishing boats wait for the tide."
SHUFFLED = "fishing the tide into wait where river the old for through the sea, boats and The flows the. town"


def with_marker(style="first"):
    """A BPE that writes a space as "▁" and puts one before a text, between an opening and a closing token."""
    merged = ("D a", "v e", "Da ve", "▁ Dave", "i n", "▁ in", "P i", "Pi m", "▁ Pim", "在 北")
    merges = [tuple(m.split()) for m in merged]
    pieces = ["<unk>", "<s>", "</s>", *"▁DaveisnPm19小明在北京", *map("".join, merges)]
    vocabulary = {p: k for k, p in enumerate(pieces)}
    inner = Tokenizer(BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    if style == "normalizer":
        inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=style)
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    inner.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")


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


def plain_answer(model, tokenizer, example):
    """NLL and correctness of each answer token, one example at a time, from full logits."""
    tokens, labelled = encode(tokenizer, example.prompt, example.answer, "answer")
    with torch.no_grad():
        log_p = model(input_ids=torch.tensor([tokens])).logits[0].log_softmax(-1)
    places = [i for i, answer in enumerate(labelled) if answer]
    nll = [-log_p[i - 1, tokens[i]].item() for i in places]
    return nll, [log_p[i - 1].argmax().item() == tokens[i] for i in places]
