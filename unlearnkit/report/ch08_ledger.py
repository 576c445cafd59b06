"""Chapter 08: what the ledger costs. Tables and figures of the benchmarks' results."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from unlearnkit.bench.bars import BARS, Bar, ratio
from unlearnkit.bench.cases import CASES, LARGE, PLAIN, Results
from unlearnkit.bench.timing import ratios
from unlearnkit.report.figures import COLOURS, INK, MUTED, figure, note
from unlearnkit.report.run import Arm, Run
from unlearnkit.report.tables import bytes_of, frame

TICKS = (1, 2, 5, 10, 20, 50, 100, 200)


def of(results: Results, what: str) -> dict[str, dict]:
    """The results of one benchmark, by model."""
    return {model: result for (name, model), result in results.items() if name == what}


def bars(results: Results) -> pd.DataFrame:
    """A row for each bar and model: measure, model, must reach, measured, reached (yes, no, or a dash)."""
    rows = [
        (bar.measure, model, bar.bound, *_held(bar, results.get((bar.what, model)), model))
        for bar in BARS
        for model in CASES[bar.what].models
    ]
    return pd.DataFrame(rows, columns=["measure", "model", "must reach", "measured", "reached"])


def _held(bar: Bar, result: dict | None, model: str) -> tuple[str, str]:
    if result is None:
        return f"no result yet: `bench {bar.what} --model {model}`", "–"
    try:
        value = bar.value(result)
    except KeyError as lacking:
        why = f"the result holds no {lacking}"
        return result.get("missing", {}).get(lacking.args[0], why), "–"
    return f"{value:.3g} {bar.unit}".strip(), "yes" if bar.reached(value) else "no"


def readme(results: Results) -> str:
    """The large models' measured bars as a Markdown table, a column a model; "" before any benchmark ran."""
    rows = bars(results)
    rows = rows[(rows["reached"] != "–") & rows["model"].isin(LARGE)]
    if rows.empty:
        return ""
    told = rows["measured"] + rows["reached"].map({"yes": "", "no": " (**not reached**)"})
    wide = rows.assign(told=told).pivot_table("told", "measure", "model", aggfunc="first").fillna("–")
    asked = rows.drop_duplicates("measure").set_index("measure")["must reach"]
    lines = [["measure", "must reach", *wide], ["---"] * (2 + wide.shape[1])]
    lines += [[measure, bound, *wide.loc[measure]] for measure, bound in asked.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def rounds(results: Results, what: str) -> pd.DataFrame:
    """Columns model, side, ratio: a side's seconds over the baseline's of the same round, a row a round."""
    rows = [
        (model, side, value)
        for model, result in of(results, what).items()
        for side, told in result["sides"].items()
        if side != result["baseline"]
        for value in ratios(told["seconds"], result["sides"][result["baseline"]]["seconds"])
    ]
    return pd.DataFrame(rows, columns=["model", "side", "ratio"])


def points(results: Results) -> pd.DataFrame:
    """What `bench device` found, for people: a row a model, type of its weights and device."""
    rows = []
    for result in of(results, "device").values():
        for point in result["points"]:
            step, ledger, request = point["sides"].values()
            sizes = (f"{point[count] / 1e6:,.1f} million" for count in ("parameters", "trained"))
            times = (f"{step['median']:.3g} s", f"{ledger['ratio']:.3g} ×", f"{request['ratio']:.3g} ×")
            room = (bytes_of(point["bytes_an_example"]), bytes_of(point["peak_bytes"]))
            rows.append((point["model"], result["device"], point["dtype"], *sizes, *times, *room))
    counted = ("parameters", "trained", "plain step", "with the ledger", "request of 20")
    return frame(rows, "model", "device", "weights", *counted, "record", "peak memory")


def speedup(result: dict, examples: int, epochs: int) -> float:
    """How many times faster than retraining a request is: from measured seconds a step, extrapolated.

    Retraining takes epochs * ceil((examples - request) / batch) plain steps.
    """
    steps = epochs * -(-(examples - result["request"]) // result["batch"])
    return steps / ratio(result, "request", PLAIN)


def kept(run: Run) -> pd.DataFrame:
    """What the study's own fine-tunings kept, a row an arm: of its first seed, whose ledger has every record.

    Columns: arm, epochs, records (one a fact and epoch), ledger_bytes, moments_bytes (AdamW's second moments,
    in 16 bits, one set an epoch), weights_bytes (in 32 bits), breakeven (facts from which on the ledger is
    larger than the moments). Only arms whose second moments were kept.
    """
    found = []
    for arm in run.arms:
        rows = arm.observations("train")
        rows = rows[rows["seed"] == arm.seeds[0]]
        told = rows.set_index("metric")["value"]
        sizes = [told.get(key) for key in ("records", "ledger_bytes", "moments_bytes", "weights_bytes")]
        if sizes[2]:
            epochs = arm.recipe["epochs"]
            row = (arm.name, epochs, *map(float, sizes), sizes[2] / (sizes[1] / sizes[0] * epochs))
            found.append(row)
    columns = ("records", "ledger_bytes", "moments_bytes", "weights_bytes", "breakeven")
    return frame(found, "arm", "epochs", *columns)


def rewound(arm: Arm) -> str:
    """How nearly the arm's ledger leads back to where training began, in a sentence."""
    back = arm.observations("rewind").set_index("metric")["value"]
    if back.empty:
        return "*This run holds no rewind experiment.*"
    return (
        f"Over {back['records']:.0f} records the rewind misses the start by {back['ledger_error']:.2g} of "
        "the way travelled. Rounding alone, with float64 sums of dense gradients, gives "
        f"{back['floor_error']:.2g}."
    )


def compared(table: pd.DataFrame, ours: str, label: str) -> plt.Figure:
    """One panel a model of `rounds`: median ratios on a log axis, whiskers quartiles; `ours` in colour."""
    models, longest = list(table["model"].unique()), table.groupby("model")["side"].nunique().max()
    reach = 2.5 * max(2, table["ratio"].max())
    drawn, axes = figure(0.34 * longest + 1.1, 1, len(models), squeeze=False, sharex=True)
    for ax, model in zip(axes.flat, models, strict=True):
        mine = table[table["model"] == model]
        colours = {s: COLOURS["target"] if s.startswith(ours) else MUTED for s in mine["side"].unique()}
        told = {"hue": "side", "palette": colours, "linestyle": "none", "markersize": 5, "ax": ax}
        spread = {"estimator": "median", "errorbar": ("pi", 50), "err_kws": {"linewidth": 1.4}}
        sns.pointplot(mine, y="side", x="ratio", **spread, **told)
        for height, (side, values) in enumerate(mine.groupby("side", sort=False)["ratio"]):
            place = (values.quantile(0.75), height)
            note(ax, f"{values.median():.3g} ×", place, "data", (7, 0), va="center", color=colours[side])
        ax.axvline(1, color=INK, lw=0.8, ls=(0, (4, 3)))
        ax.set(title=model, xlabel=label, ylabel="", xscale="log", xlim=(0.8, reach))
        ax.set_xticks(TICKS, map(str, TICKS))
        ax.set_xticks([], minor=True)
        ax.tick_params(axis="y", length=0)
    return drawn
