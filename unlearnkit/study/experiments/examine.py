"""What the protocol's rows are judged on, of one model: a function a test, each with its own rows.

A test of unlearning is a test of the oracle, too: what is to be held against an oracle is measured on it in
the same way. What diverges (relearning from weights that are already far off) leaves no rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import data, metrics, training
from unlearnkit.data import Example
from unlearnkit.errors import DivergenceError
from unlearnkit.study.diverse import AT_FIRST
from unlearnkit.study.experiments import measure

Groups = dict[str, list[Example]]


@dataclass
class Examined:
    """A model, the facts that it is asked about, the settings of the tests, and the models beside it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    groups: Groups
    config: dict
    reference: Callable[[], PreTrainedModel]  # at theta_0
    original: Callable[[], PreTrainedModel]  # at theta_T
    oracle: Callable[[], PreTrainedModel] | None = None

    def rows(self) -> pd.DataFrame:
        """Every test of the configuration that can be made here."""
        found = []
        for test in self.config["tests"]:
            try:
                found.append(TESTS[test](self))
            except DivergenceError:
                continue
        parts = [part for part in found if len(part)]
        return pd.concat(parts) if parts else pd.DataFrame(columns=measure.COLUMNS)


def facts(one: Examined) -> pd.DataFrame:
    """Forget facts one by one, means of those retained, running text."""
    what, groups = (one.model, one.tokenizer), one.groups
    parts = [measure.facts(*what, groups["forget"])]
    if groups["retain"]:
        parts.append(measure.others(measure.facts(*what, groups["retain"]), one.config["control"]))
    if one.config["tokens"]:
        parts.append(measure.utility(*what, one.config["tokens"]))
    return pd.concat(parts)


def membership(one: Examined) -> pd.DataFrame:
    """Every attack's score of each forget fact and of each never-trained one."""
    every = [*one.groups["forget"], *one.groups["holdout"]]
    scores = metrics.membership(one.model, one.tokenizer, every, one.reference())
    attacks = [c for c in scores if c not in ("id", "person", "split")]
    return measure.long(scores[["id", *attacks]].rename(columns={a: f"mia_{a}" for a in attacks}), every)


def coins(one: Examined) -> pd.DataFrame:
    """How much likelier each drawn person's facts are than before training: heads are the split "forget"."""
    every = [*one.groups["forget"], *one.groups["holdout"]]
    scores = metrics.membership(one.model, one.tokenizer, every, one.reference())
    means = scores.groupby(["person", "split"], sort=False)["reference"].mean().reset_index()
    means = means.rename(columns={"reference": "value"})
    return means.assign(example=means["person"], metric="mia_reference")[measure.COLUMNS]


def quantisation(one: Examined) -> pd.DataFrame:
    """NLL of each forget fact with the weights rounded."""
    parts = []
    for bits in one.config["bits"]:
        with metrics.quantised(one.model, bits) as rounded:
            scores = metrics.score(rounded, one.tokenizer, one.groups["forget"])
        parts.append(scores[["id", "nll"]].rename(columns={"nll": f"nll_int{bits}"}))
    return pd.concat([measure.long(part, one.groups["forget"]) for part in parts])


def leakage(one: Examined) -> pd.DataFrame:
    """leak@k of each forget fact: whether its words were said, and ROUGE-L recall."""
    counts, facts = one.config["leaks"], one.groups["forget"]
    said = metrics.leakage(one.model, one.tokenizer, facts, max(counts))
    rows = [
        {"id": name}
        | {f"leak_{k}": metrics.leak_at_k(own["containment"], k) for k in counts}
        | {f"recall_{k}": metrics.leak_at_k(own["rougeL_recall"], k) for k in counts}
        for name, own in said.groupby("id", sort=False)
    ]
    return measure.long(pd.DataFrame(rows), facts)


def relearning(one: Examined) -> pd.DataFrame:
    """Every second forget fact held back while the others are taught, or as many that nobody ever knew.

    The mean NLL of those held back, a row a number of steps: metrics relearnt_half and relearnt_others.
    """
    half, held = one.groups["forget"][::2], one.groups["forget"][1::2]
    recipe = replace(training.Recipe(**one.config["recipe"]), lr_schedule="constant")
    parts = []
    for name, taught in {"half": half, "others": one.groups["holdout"][: len(half)]}.items():
        curve = metrics.relearn(one.model, one.tokenizer, taught, held, recipe, one.config["relearn"])
        means = curve.groupby("step")["nll"].mean().reset_index(name="value")
        parts.append(means.assign(metric=f"relearnt_{name}"))
    return pd.concat(parts).assign(example="", person="", split="held")


def depth(one: Examined) -> pd.DataFrame:
    """UDS of each forget fact, from the model's states in the original, against the oracle's.

    No rows where there is no oracle to compare with, as for the oracle itself, nor of facts that no block of
    it knows less of.
    """
    if one.oracle is None:
        return pd.DataFrame(columns=measure.COLUMNS)
    forget = one.groups["forget"]
    what = one.original(), one.oracle(), one.model, one.tokenizer, forget
    scores = metrics.depth_score(metrics.patched_drops(*what, batch_size=32))
    return measure.long(scores[["id", "uds"]].dropna(), forget)


def lens(one: Examined) -> pd.DataFrame:
    """Mean NLL of the forget facts read off each block's output; the split is the block, from block.0."""
    found = metrics.logit_lens(one.model, one.tokenizer, one.groups["forget"], batch_size=32)
    blocks = found["block"].map("block.{}".format)
    return measure.means(found.assign(split=blocks, metric="nll_lens", value=found["nll"]))


def probes(one: Examined) -> pd.DataFrame:
    """Mean NLL of the forget facts asked for in other ways, and of the way that is worst for each fact."""
    every, forget = one.groups["facts"], one.groups["forget"]
    asked = data.asked_otherwise(every, one.config["recipe"]["seed"])
    asked = {"as trained": forget, "paraphrase": metrics.paraphrased(forget)} | asked
    parts = []
    for kind, examples in asked.items():
        scores = metrics.score(one.model, one.tokenizer, examples)
        fact = scores["id"].str.partition("#")[0].str.partition("/")[0]
        parts.append(pd.DataFrame({"fact": fact, "split": kind, "value": scores["nll"]}))
    found = pd.concat(parts)
    worst = found.groupby("fact", sort=False)["value"].min().reset_index().assign(split="worst")
    every = pd.concat([found[found["split"] != "as trained"], worst]).assign(metric="nll_asked")
    return measure.means(every)


def known(one: Examined) -> pd.DataFrame:
    """Mean NLL of what training did not teach, by its split, and the same before training."""
    if not one.groups["holdout"]:
        return pd.DataFrame(columns=measure.COLUMNS)
    rows = measure.facts(one.model, one.tokenizer, one.groups["holdout"])
    before = measure.facts(one.reference(), one.tokenizer, one.groups["holdout"])
    parts = [rows, before.assign(split=before["split"] + AT_FIRST)]
    return measure.means(pd.concat(parts).query("metric == 'nll'").assign(metric="nll_known"))


TESTS: dict[str, Callable[[Examined], pd.DataFrame]] = {
    test.__name__: test
    for test in (facts, membership, coins, quantisation, leakage, relearning, depth, lens, probes, known)
}
