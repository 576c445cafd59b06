"""The version of every stage. Raise one when the stage's numbers change: only its cells, and those that
build on them, are then computed again. Golden cells (tests/golden) fail where numbers change and this does
not.
"""

VERSION = {
    "base": 2,
    "train": 1,
    "oracle": 1,
    "path": 2,
    "recorded": 1,
    "compared": 1,
    "verified_oracles": 1,
    "verified": 1,
    "sequence_oracle": 1,
    "sequence": 2,
    "words": 1,
    "portraits": 3,
    "durations": 1,
    "alignment": 2,
    "layer_scores": 1,
    "tracin": 1,
    "retrain": 1,
    "recipe": 1,
    "rewind": 1,
}
