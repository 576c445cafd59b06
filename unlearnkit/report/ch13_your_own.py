"""Chapter 13: a model and facts of one's own: what was found in them, and is it forgotten, and at what price.

The numbers are made on the machine at hand, by the cells of the study (`study.own`); what is read off them,
and the rule of the advice, are chapter 09's.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from unlearnkit.claims.methods import MARGIN, sees
from unlearnkit.paths import runs_below
from unlearnkit.report import figures, side_by_side, tables
from unlearnkit.report.ch09_advice import advice
from unlearnkit.report.ch09_figures import FAMILIES
from unlearnkit.report.run import Arm, Run
from unlearnkit.report.side_by_side import reading, summary
from unlearnkit.study import own as study_own
from unlearnkit.study.config import DEFAULT_METHOD
from unlearnkit.study.own import Own
from unlearnkit.study.profiles import Profile
from unlearnkit.study.search import Tried
from unlearnkit.unlearning import METHODS

TAUGHT = ("lr", "epochs", "batch_size", "lora")  # of the recipe, in the order in which it is told
# What one training says nothing about, whatever its numbers.
ONE_SEED = (
    "**One training was looked at, and one request.** It cannot show how far the prices lie apart in another "
    "order of training, so that there is no interval, and a lead of any size may be luck; nor what somebody "
    f"else's facts would cost. Methods within {MARGIN:g} nats of the cheapest count as equals for that. With "
    "`seeds = 3` the intervals are wide, yet a lead in all three tells more than this one can."
)


def found(own: Own) -> pd.DataFrame:
    """What was found in facts and model; errors as for `study.inputs`."""
    from unlearnkit.study import inputs  # here: the report needs none of it

    told = inputs.account(own.profile)
    told |= {"gradients are recorded": inputs.recorded(own.model)} if own.folder else {}
    return pd.DataFrame(told.items(), columns=["what", "found"])


def rates(tried: Sequence[Tried]) -> pd.DataFrame:
    """The learning rates that were tried, gentlest first."""
    return pd.DataFrame(
        {
            "learning rate": [f"{one.lr:g}" for one in tried],
            "answers known before": [f"{one.before:.0%}" for one in tried],
            "after": [f"{one.after:.0%}" for one in tried],
            "encyclopedia, nats": [f"{one.text:+.2f}" for one in tried],
            "enough": ["yes" if one.enough else "no" for one in tried],
        }
    )


def searched(own: Own, tried: Sequence[Tried]) -> Markdown:
    """`rates`, or by which recipe the model learns where nothing was tried."""
    recipe = own.arm.recipe
    words = " ".join(f"{k}={recipe[k]:g}" for k in TAUGHT if k in recipe)
    if tried:
        return Markdown(f"{tables.markdown(rates(tried))}\n\nThe recipe is `{words}` from here on.")
    return Markdown(f"The recipe is `{words}`. `make recipe` looks for a rate, gentlest first.")


def expected(own: Own, names: Sequence[str]) -> pd.DataFrame:
    """How long the comparison should take, by kind of work; no rows where it has been made already."""
    took = study_own.estimate(own, names) if own.folder else {}
    rows = [*took.items(), ("all", sum(took.values()))] if took else []
    return pd.DataFrame([(kind, f"{s:.0f}") for kind, s in rows], columns=["work", "seconds, about"])


def compared(own: Own, names: Sequence[str]) -> Run:
    """The run of this comparison, made where that is still to be done."""
    name = study_own.compared(own, names)
    if own.folder is None:
        return Run(name)
    with runs_below(own.folder):
        return Run(name)


# -- is it forgotten, at what price, which method -----------------------------------------------------------


def verdict_table(arm: Arm) -> pd.DataFrame:
    """Each method where it forgets as the oracles have, the cheapest first."""
    rows = summary(arm).sort_values("price", kind="stable")
    taught, again = side_by_side.thrown_away(arm), side_by_side.retraining_seconds(arm)
    return pd.DataFrame(
        {
            "method": rows["title"].to_numpy(),
            "sees again": [sees(side_by_side.needed(arm, m)) for m in rows.index],
            "forgotten": [_forgotten(row) for row in rows.itertuples()],
            "others lose": tables.estimates(rows, "price", ".2f"),
            f"of {taught:.2f} that they were taught": [f"{p / taught:.0%}" for p in rows["price"]],
            "D_F there": [f"{d:.2f}" for d in rows["distance"]],
            "running text loses": [f"{rise:+.2f}" for rise in rows["utility_rise"]],
            f"seconds (retraining {again:.1f})": [f"{s:.1f}" for s in rows["seconds"]],
        }
    )


def seen_too(arm: Arm) -> Markdown | None:
    """A warning where there are so few facts of others that those that methods see again are scored, too."""
    setting = arm.settings[0]
    others = len(setting.facts) - len(setting.forget)
    if others > len(setting.retain()):
        return None
    return Markdown(
        f"> ⚠ All {others} facts of others are scored, those among them that a method sees again: the prices "
        "of methods that see retain texts are too low. Bring more facts of others."
    )


def _forgotten(row: Any) -> str:
    """`yes`; or in how many seeds; of a method that never gets there the least D_F."""
    if row.reached == row.seeds:
        return "yes"
    return f"in {row.reached} of {row.seeds}" if row.reached else f"no; closest D_F {row.closest:.2f}"


def ways(arm: Arm) -> plt.Figure:
    """What others have lost against the forget facts' NLL: a line for each method's path in each seed."""
    drawn, ax = figures.figure(3.4)
    found = side_by_side.paths(arm)
    for (method, seed), path in found.items():
        label = METHODS[method].title if seed == arm.seeds[0] else None
        colour = figures.COLOURS.get(method) or FAMILIES[METHODS[method].family]
        steps = path.steps[["forget_nll", "damage"]]
        ax.plot(steps["forget_nll"], steps["damage"], ".-", color=colour, label=label)
    level = pd.Series([path.world.target.mean() for path in found.values()]).mean()
    ax.axvline(level, color=figures.COLOURS["oracle"], ls=(0, (4, 3)), zorder=0)
    figures.note(ax, "the oracle", (level, 1), ax.get_xaxis_transform(), (0, 3), ha="center")
    ax.set_xlabel("facts to be forgotten: NLL, nats a token")
    ax.set_ylabel("others have lost, nats")
    ax.legend(frameon=False, fontsize=8)
    return drawn


def best(arm: Arm) -> str:
    """The method that the rule advises to whoever has all that methods ask for; "" where none forgets.

    The cheapest of those that the rule advises for what one may have.
    """
    used = [name for name in advice(arm)["use"] if name]
    return min(dict.fromkeys(used), key=summary(arm)["price"].__getitem__) if used else ""


def answer(arm: Arm) -> Markdown:
    """The verdict in two sentences."""
    able, taught = summary(arm).query("reached > 0 and not control"), side_by_side.thrown_away(arm)
    target = ", ".join(arm.targets)
    if not (name := best(arm)):
        return Markdown(
            f"**No method makes the facts of the request ({target}) as unlikely as retraining without them "
            "does**, which is what is left."
        )
    one = summary(arm).loc[name]
    retrained = tables.duration(side_by_side.retraining_seconds(arm))
    return Markdown(
        f"**On the mean {target} can be forgotten: {len(able)} of "
        f"{tables.count(len(summary(arm)), 'method')} make these facts as unlikely as retraining does. Use "
        f"{one['title']}: others lose {one['price']:.2f} of {taught:.2f} nats a token.** Retraining costs "
        f"others nothing, and took {retrained}."
    )


def how_sure(arm: Arm) -> Markdown:
    """What so many seeds can show."""
    seeds = reading(arm)["seed"].nunique()
    if seeds == 1:
        return Markdown(ONE_SEED)
    return Markdown(
        f"{seeds} trainings were looked at, in as many orders; prices stand with 95 % t intervals over them."
    )


# -- the model that is handed over --------------------------------------------------------------------------


def job(own: Own, arm: Arm | None) -> dict[str, Any]:
    """What the command `forget` is to be given so that it does by `best` what was compared.

    The result goes to `forgotten`, or with a number to the first that is free, signed with a key beside it;
    names in `own.folder` are relative to that.
    Nothing where no method forgets, or where the run was made by `make reproduce`, which hands over nothing.
    """
    method = best(arm) if arm and own.folder else ""
    if not method:
        return {}
    told = {name: _below(own.folder, own.profile[name]) for name in ("model", "data")}
    told |= {"who": own.profile["forget"], "out": _free(own.folder), "key": "signing.key"}
    return told | {"method": method, "train": True, "options": _options(own, method)}


def command(run: Run, profile: Profile) -> list[str]:
    """The arguments of `forget` that would do the same for a run which `make reproduce` has made.

    By DEFAULT_METHOD where the run compares no methods; none where no method forgets, where the facts are not
    the user's own, and after SGD, for which nothing is advised.
    """
    own, arms = Own(profile), side_by_side.of_run(run)
    method = best(arms[0]) if arms else DEFAULT_METHOD
    if not (method and profile["data"] and own.arm.optimizer == "adamw"):
        return []
    told = {"model": profile["model"], "data": profile["data"], "who": profile["forget"], "method": method}
    words = [word for name, value in told.items() for word in (f"--{name}", value)]
    words += [word for option in _options(own, method) for word in ("-p", option)]
    return [*words, "--train", "--out", str(_free(Path()))]


def _options(own: Own, method: str) -> tuple[str, ...]:
    """What the method is given in the comparison, and what is said of the training there."""
    recipe = own.arm.recipe
    given = [f"{k}={v}" for k, v in own.options(method).items()]
    return *given, *(f"train.{k}={recipe[k]}" for k in ("optimizer", *TAUGHT) if k in recipe)


def _free(folder: Path) -> Path:
    """A name that nothing in the folder has."""
    names = itertools.chain(["forgotten"], (f"forgotten-{number}" for number in itertools.count(2)))
    return Path(next(name for name in names if not (folder / name).exists()))


def _below(folder: Path, name: str) -> str:
    path = Path(name)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else name


def account(told: Mapping[str, Any]) -> pd.DataFrame:
    """A signed manifest's main fields, in words."""
    tests = told["tests"]
    forget, others = tests["forget"], tests["retain"]
    rows = {
        "verdict": f"{told['verdict']}: on the mean as unlikely as {forget['level_is']}, none said in full",
        "method": f"{told['method']['title']} (version {told['method']['version']})",
        "facts to forget, nats": f"{forget['nll_before']:.2f} before, {forget['nll_after']:.2f} after; "
        f"level {forget['level']:.2f}",
        "of them, one by one": f"{forget['at_level']} of {forget['facts']} reach the level",
        "said word for word": f"{forget['recalled_before']} before, {forget['recalled_after']} after",
        "others' facts, nats": f"{others['nll_before']:.2f} before, {others['nll_after']:.2f} after",
        "signed over": f"{len(told['model']['files'])} files, the weights among them",
        "not shown": f"{len(told['not_shown'])} things, named in `report.html`",
    }
    return pd.DataFrame(rows.items(), columns=["the manifest says", ""])
