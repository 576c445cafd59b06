"""What was registered of the comparison of methods, before any of its test worlds was run.

Tuning    Every method gets the same budget: `TRIALS` settings of its options in worlds that no table shows
          (`TUNING_SEEDS`), or as many as it has settings, where it has fewer. The best is the one with the
          lowest mean price at matched forgetting; of equals, the one that comes closest to the oracles.
          Where its learning rate lies at an end of those that were tried, the next beyond it is tried, too,
          up to `BEYOND` more, lest a method be judged by where its grid ends. (Added when two test worlds of
          gpt2-tiny had been seen, in which ten methods stopped short; it looks at the tuning worlds alone,
          and all paths whose options it changed were walked anew.)
Readings  Those of the claims (`registered`). A method that goes to one place only, and has no path, is read
          there: it has forgotten if its forget facts' mean NLL is no more than `NEAR` below the oracles'.
          Where the first optimizer step goes past the oracles, the line to it is looked at as well
          (`trials.DIVIDED`), and what breaks the model first and mends it then is read at its end
          (`trials.REPAIRED`). (Both added when all worlds of gpt2-tiny had been seen: prices had been read
          between theta_T and a first step, of no model. The seven methods were tuned and walked anew.)
Price     What the retain facts lose at matched forgetting, in nats, no more than what they lose by throwing
          the fine-tuning away, and so much where a path never gets there.
The bar   A method is far cheaper than the paper's if the 95 % t interval of (its price less `SHARE` of the
          first epoch's), over the test worlds, lies below 0, and its p, corrected by Holm over an arm's
          methods, below 0.05. (The correction was added when the worlds had been seen; it only tightens, and
          changed no answer.)
Advice    By what a user still has (`HAVE`): of the methods that need no more, the one with the lowest mean
          price is the cheapest. One whose price exceeds that by less than `MARGIN`, by the upper end of the
          paired interval, is as good; of these, use the one that takes the fewest seconds. Controls, and what
          retrains on everything that is retained, are not advised: others are held against them. (What
          trains on it in part, as `rewind`, which was listed in advance, or a head alone on it, as
          `certified_removal`, may be. Its price is of facts that it was given again.)

Ten methods are walked in more worlds of the real model than the others. They were chosen before any was seen
there: the paper's, what the project offers instead of it, and of each other family the one that readers ask
for most.
"""

from collections.abc import Mapping

TRIALS = 6
BEYOND = 3
TUNING_SEEDS = (40, 41)  # worlds beyond the test worlds', with other targets
NEAR = 0.05  # nats of the forget facts' mean NLL
SHARE = 1 / 3
MARGIN = 0.1  # nats

PAPER = "first_epoch"  # what the bar is a share of
PRINCIPAL = {
    "first_epoch": "the paper's method, which the bar is a share of",
    "adam_replay": "the fairest form of its idea",
    "kfac_replay": "from the ledger's factors, without a text",
    "projected_replay": "the project's own, from the ledger alone",
    "gradient_ascent": "the same idea with gradients taken afresh",
    "grad_diff": "the plainest that sees retain texts, the benchmarks' first line",
    "npo": "the one most often recommended",
    "rmu": "the one that moves representations",
    "msa": "the closest living claim: arithmetic on states of the training",
    "rewind": "partial retraining, which has guarantees elsewhere",
}
NEVER_ADVISED = ("retrain", "sisa", "exact_replay")  # all that is retained is trained on again

# What a user still has, from least to most: of the inputs of a method (`unlearning.Method.needs`), those that
# need nothing but this.
HAVE: Mapping[str, frozenset[str]] = {
    "the ledger": frozenset({"ledger"}),
    "the forget texts": frozenset({"examples", "tokenizer"}),
    "retain texts": frozenset({"examples", "tokenizer", "retain"}),
    "the history of training": frozenset({"checkpoints", "shards", "examples", "tokenizer", "retain"}),
}


def sees(needs: tuple[str, ...]) -> str:
    """What a method with these needs must be given, of HAVE; "nothing" for one that needs none."""
    if not needs:
        return "nothing"
    return next((what for what, enough in HAVE.items() if set(needs) <= enough), "all of these")
