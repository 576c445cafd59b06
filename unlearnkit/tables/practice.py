"""For practitioners: tables of settings, prices and leftovers, and advice whose words follow the numbers."""

import pandas as pd

from unlearnkit.study import results
from unlearnkit.study.results.testing import ALPHA
from unlearnkit.tables.build import frame, mean_and_range
from unlearnkit.tables.wording import bytes_of, count, duration, p_value

NAMES = {
    "finetuned": "fine-tuned (nothing done)",
    "first_epoch": "first epoch",
    "all_epochs": "all epochs",
    "wrong_person": "wrong person (control)",
    "random_direction": "random direction (control)",
    "oracle": "oracle (retrained)",
}


def name(row: dict) -> str:
    """A setting in words: the update, and where it is not all layers, on which."""
    method = row["method"]
    told = f"epoch {method[6:]} alone" if method.startswith("epoch_") else results.NAMES.get(method, method)
    told = told.replace("'s gradients", "").replace("s' gradients", "s").replace("first epoch, ", "")
    return told if row["layers"] == "all" else f"{told}, {row['layers']} only"


def settings(table: pd.DataFrame) -> pd.DataFrame:
    """`results.practice.ranked` for people."""
    rows = [
        {
            "setting": name(row),
            "seeds": row["n"],
            "D_F before → after": f"{row['start']:.2f} → {row['distance']:.2f}",
            "closer than the best control by [95 %]": _ahead(row),
            "p (Holm)": p_value(row["p_holm"]),
            "closer in": f"{row['wins']} of {row['n']}",
            "reach the damage": f"{row['reach']:.0%}",
        }
        for row in table.to_dict("records")
    ]
    columns = ("setting", "seeds", "D_F before → after", "closer than the best control by [95 %]")
    return frame(rows, *columns, "p (Holm)", "closer in", "reach the damage")


def best(rankings: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Of every arm the setting that `recommendation` names."""
    tables = {arm: settings(pd.DataFrame([_first(table)])) for arm, table in rankings.items()}
    return pd.concat(tables, names=["arm", None]).reset_index(level="arm").reset_index(drop=True)


def _ahead(row: dict) -> str:
    if row["ci_low"] != row["ci_low"]:
        return f"{row['ahead']:+.2f}"
    return f"{row['ahead']:+.2f} [{row['ci_low']:+.2f}, {row['ci_high']:+.2f}]"


def left(table: pd.DataFrame) -> pd.DataFrame:
    """`results.practice.left_behind` for people, over seeds."""
    columns = {
        "distance": ("D_F", "{:.2f}"),
        "forget_nll": ("forget NLL", "{:.2f}"),
        "still": ("still known", "{:.0%}"),
        "past": ("past the oracle", "{:.0%}"),
        "paraphrase_nll": ("paraphrases, NLL", "{:.2f}"),
        "paraphrase_distance": ("paraphrases, D_F", "{:.2f}"),
        "exact_memorisation": ("tokens memorised", "{:.0%}"),
        "rougeL_recall": ("ROUGE-L", "{:.2f}"),
    }
    rows = []
    for model, label in NAMES.items():
        mine = table[table["model"] == model]
        if mine.empty:
            continue
        row = {"model": label}
        for key, (title, form) in columns.items():
            mean = mine[key].mean()
            row[title] = "–" if mean != mean else form.format(mean)
        if row["D_F"] != "–":
            row["D_F"] = mean_and_range(mine["distance"].dropna())
        rows.append(row | {"seeds": len(mine)})
    return pd.DataFrame(rows)


def prices(found: dict[str, float]) -> pd.DataFrame:
    """`results.practice.prices` for people: duration, memory and disk of each piece of work."""
    rows = [
        ("fine-tuning, gradients recorded", "training_seconds", "training_gb", "ledger_bytes"),
        ("first-epoch update, once", "apply_seconds_first", "unlearning_gb", None),
        ("all-epochs update, once", "apply_seconds_all", "unlearning_gb", None),
        ("retraining without the person", "retraining_seconds", None, None),
    ]
    return pd.DataFrame(
        {
            "work": work,
            "duration": _or_dash(found[seconds], duration_of),
            "peak memory (GB)": round(found[memory], 2) if memory else float("nan"),
            "disk": _or_dash(found[disk], bytes_of) if disk else "–",
        }
        for work, seconds, memory, disk in rows
    )


def duration_of(seconds: float) -> str:
    """As `duration`, with tenths of short times."""
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def _or_dash(value: float, form) -> str:
    return "–" if value != value else form(value)


def recommendation(table: pd.DataFrame) -> str:
    """Which setting to use, or that none can be recommended, from `results.practice.ranked`."""
    own = table[~table["control"]]
    shown, top = _shown(table), _first(table)
    kept = 1 - top["distance"] / top["start"]
    what = f"**{name(top)}**"
    there = (
        f"It stands {top['distance']:.2f} nats from the oracle, which is {kept:.0%} less than before, and is "
        f"{_ahead(top)} nats closer than the best control of the same seed ({count(top['n'], 'seed')})."
    )
    if not len(shown):
        tested = own["p_holm"].notna().any()
        why = f"Holm over {len(own)} settings" if tested else "one seed, so that nothing can be tested"
        hope = ""
        if top["ci_low"] > 0:
            hope = (
                f" Its own interval, uncorrected, lies above zero: more than {count(top['n'], 'seed')}, or "
                f"fewer settings tried, may well show it."
            )
        return (
            f"**No setting can be recommended**: none is shown to be closer to the oracle than updates that "
            f"do not aim at the person ({why}). Nominally first is {what}. {there}{hope}"
        )
    same = f" Shown to be ahead are {len(shown)} of {len(own)} settings (Holm)."
    above = int((own["ahead"] > top["ahead"]).sum())
    if above:
        same += f" Nominally ahead by more, but not shown to be ahead at all: {above}."
    return f"Use {what}. {there}{same}"


def is_shown(table: pd.DataFrame) -> bool:
    """Whether some setting of `results.practice.ranked` is shown to be ahead of the best control."""
    return len(_shown(table)) > 0


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["control"] & (table["p_holm"] < ALPHA) & (table["ahead"] > 0)]


def _first(table: pd.DataFrame) -> dict:
    """The first setting that is shown to be ahead, or where none is, that is nominally."""
    shown = _shown(table)
    return (shown if len(shown) else table[~table["control"]]).iloc[0].to_dict()


def leftovers(table: pd.DataFrame, spread: float, source: str) -> str:
    """What the first epoch's and all epochs' updates leave, in a paragraph; `source` says whose `spread`."""
    means = table.groupby("model").mean(numeric_only=True)
    before, oracle = means.loc["finetuned"], means.loc["oracle"]
    told = []
    for model in ("first_epoch", "all_epochs"):
        after = means.loc[model]
        text = (
            f"After {NAMES[model]} {after['still']:.0%} of the facts are still known ({before['still']:.0%} "
            f"before) and {after['past']:.0%} are past the oracle; D_F is {after['distance']:.2f} nats"
        )
        if after["paraphrase_distance"] == after["paraphrase_distance"]:
            text += f", in paraphrase {after['paraphrase_distance']:.2f}"
        told.append(f"{text}, and ROUGE-L {after['rougeL_recall']:.2f}.")
    asked = (
        ""
        if "paraphrase_nll" in means and before["paraphrase_nll"] == before["paraphrase_nll"]
        else (" These facts have no paraphrases.")
    )
    return (
        f"{' '.join(told)} In the oracle ROUGE-L is {oracle['rougeL_recall']:.2f}; the margin for D_F, how "
        f"far oracles lie apart, is {spread:.2f} ({source}).{asked}"
    )


def against_reference(table: pd.DataFrame) -> str:
    """Where the paper's setting, first epoch on all layers, and its embedding-only variant rank."""
    own = table[~table["control"]].reset_index(drop=True)
    lines = []
    for layers in ("all", "embedding"):
        mine = own[(own["layers"] == layers) & (own["method"] == "first_epoch")]
        if len(mine):
            row = mine.iloc[0].to_dict()
            lines.append(f"{name(row)} is number {mine.index[0] + 1} of {len(own)} ({_ahead(row)} nats)")
    text = "; ".join(lines)
    return text[:1].upper() + text[1:]


def cautions(
    left_behind: pd.DataFrame, found: dict[str, float], spread: float, source: str, ranking: pd.DataFrame
) -> str:
    """When not to use it: a Markdown list from the tables; lines that do not apply are left out."""
    means = left_behind.groupby("model").mean(numeric_only=True)
    before, after, oracle = (means.loc[m] for m in ("finetuned", "first_epoch", "oracle"))
    lines = []
    if after["distance"] > spread:
        lines.append(
            f"**When nothing may remain.** At equal damage the first epoch's update leaves the model "
            f"{after['distance']:.2f} nats from the oracle, where oracles lie {spread:.2f} apart ({source}); "
            f"{after['still']:.0%} of the facts are still better known than by the oracle."
        )
    if after["past"] > oracle.fillna(0)["past"]:
        lines.append(
            f"**When the removal must not show.** {after['past']:.0%} of the facts are past the oracle: less "
            f"likely than to a model that never met them."
        )
    if after["paraphrase_distance"] > spread:
        kept, asked = (after[k] / before[k] for k in ("distance", "paraphrase_distance"))
        lines.append(
            f"**When questions come in other words.** Asked in paraphrase, the model is "
            f"{after['paraphrase_distance']:.2f} nats from the oracle, {asked:.0%} of the way before; in the "
            f"trained words {kept:.0%} remain."
        )
    reference = ranking[(ranking["layers"] == "all") & (ranking["method"] == "first_epoch")].iloc[0]
    if reference["reach"] > 0:
        lines.append(
            f"**When others' facts are precious.** Where this page reads, they have paid by choice; general "
            f"perplexity is {reference['perplexity_ratio'] - 1:+.1%} at that step."
        )
    if found["retraining_seconds"] == found["retraining_seconds"]:
        times = found["retraining_seconds"] / found["apply_seconds_first"]
        lines.append(
            f"**When retraining is affordable.** It took {duration_of(found['retraining_seconds'])} here, "
            f"{times:,.0f} times as long as an update, and is the only model at the oracle."
        )
    if found["ledger_bytes"] == found["ledger_bytes"]:
        lines.append(
            f"**When gradients were not recorded.** They cannot be had afterwards. For "
            f"{found['ledger_facts']:.0f} short facts they take {bytes_of(found['ledger_bytes'])}, "
            f"{found['ledger_bytes'] / found['weights_bytes']:.2g} times the weights."
        )
    return "\n".join(f"* {line}" for line in lines)
