"""What was registered of the study's variants, before the seeds that it judges were run.

Each contrast is a number a training seed, and is judged as the paper's claims are (`rule`): by the seeds'
mean, its 95 % interval and a margin of 0.1 nats; Holm over the claims of one variant. "Pays" is what the
retain facts lose where the path has forgotten as the oracle, the forget facts being all of the target's; a
path that never gets there counts as in `registered`.

requests  the world has six of the target's twenty facts under an alias. What a request misses is told apart
          from what it catches beside: "exact_by_name" misses and catches nothing, "words_alias" catches and
          misses nothing
stages    the target's facts are learnt first, throughout, or last; a method depends on that as far as its
          outcomes over the three differ (the highest less the lowest). Primary is what it pays; D_F where the
          retain facts have lost 0.5 nats stands beside
planted   one of seven candidates, the embedding or two blocks, has alone learnt the target. A rule finds the
          layers if the 95 % Wilson interval of its hit rate lies above chance, one in seven; "moved" is no
          rule for users but shows that the truth is what it should be

Looked at before: how well each training teaches (seed 1 alone, no unlearning), which fixed the rates in
`study.config`. Nothing else.
"""

from unlearnkit.claims.registered import NOT_THERE, Claim

MARGIN = 0.1  # nats
CHANCE = 1 / 7

_PAYS = "what the retain facts lose by {} less that by {}, each where it has forgotten as the oracle"


def _pays(id: str, statement: str, more: str, less: str) -> Claim:
    return Claim(id, statement, NOT_THERE, _PAYS.format(more, less), MARGIN)


REQUESTS = (
    _pays("V1a", "Missing facts makes forgetting dearer.", "a request without the alias", "the exact one"),
    _pays("V1b", "Catching others' facts does.", "a request for whole words and the alias", "the exact one"),
    _pays("V1c", "A fuzzy request by name pays more.", "the fuzzy request", "the iterative one by ids"),
    _pays("V1d", "A loose request does.", "a loose request for name and alias", "the iterative one by ids"),
    _pays("V1e", "One fact at a time is cheaper.", "the exact one", "the iterative one by ids"),
)
# Claim id: (the request that should pay more, the one that should pay less), as paths are labelled.
REQUEST_PAIRS = {
    "V1a": ("exact_by_name", "exact"),
    "V1b": ("words_alias", "exact"),
    "V1c": ("resembling", "iterative"),
    "V1d": ("loose_alias", "iterative"),
    "V1e": ("exact", "iterative"),
}

_DEPENDS = "range over three orders of what the retain facts lose by fresh gradients less that by {}"
STAGES = tuple(
    Claim(
        id,
        f"Stored gradients ({words}) depend less on when the target was learnt than fresh ones do.",
        NOT_THERE,
        _DEPENDS.format(f"stored gradients ({words})"),
        MARGIN,
    )
    for id, words in (("V2a", "first epoch"), ("V2b", "all epochs"), ("V2c", "AdamW's updates"))
)
STORED = {"V2a": "first_epoch", "V2b": "all_epochs", "V2c": "adam_replay"}
FRESH = "recomputed"
STAGE_DAMAGE = 0.5  # nats: where D_F is read beside

PLANTED = (
    _pays("V3a", "The right layers are cheaper than wrong ones.", "six wrong layers, mean", "the right ones"),
    _pays("V3b", "The right layers are cheaper than all.", "all layers", "the right ones"),
)
