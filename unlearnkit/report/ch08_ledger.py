"""Chapter 08: what the ledger costs. Tables and figures of the benchmarks' results."""

from itertools import product

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from unlearnkit.bench.bars import BARS, Bar, ratio
from unlearnkit.bench.cases import CASES, LARGE, PLAIN, REQUEST, RETRAINING, Results
from unlearnkit.bench.timing import ratios
from unlearnkit.report.figures import COLOURS, FAINT, INK, MUTED, figure, note
from unlearnkit.report.tables import bytes_of, count

OURS = COLOURS["target"]
PARTS = {
    "output gradients": "#0072B2",
    "inputs": "#56B4E9",
    "token ids": "#009E73",
    "sums over tokens": "#E69F00",
    "dense gradients": "#7F7F7F",
}
EPOCHS, EXAMPLES = (1, 5, 20), (110, 330, 1000, 3000, 10000)  # of retraining, extrapolated
GROWING = {"ratio": "step with ledger,\n× plain step", "smaller": "dense fp32 bytes,\n× the record's"}
REQUESTS = (
    "request, plain steps",
    "retraining, × the request",
    "request from the largest ledger, × from the smallest",
)
MACHINE = ("date", "commit", "threads", "torch", "freed_memory")
TICKS = (1, 2, 5, 10, 20, 50, 100, 200)


# -- tables -----------------------------------------------------------------------------------------------


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


def sizes(results: Results) -> pd.DataFrame:
    """A row for each model: bytes of a dense gradient, and of a 16-bit record of each length in tokens."""
    rows = []
    for model, result in of(results, "ledger").items():
        row = {"model": model, "dense gradient": bytes_of(result["dense_bytes"])}
        for size in (s for s in result["bytes_an_example"] if s["dtype"] == "float16"):
            part = result["dense_bytes"] / size["bytes"]
            row[f"record of {size['tokens']} tokens"] = f"{bytes_of(size['bytes'])} (1/{part:.0f})"
        rows.append(row)
    return pd.DataFrame(rows)


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


def requests(results: Results) -> pd.DataFrame:
    """A row for each model: what a request and retraining cost, and how the request's cost grows."""
    rows = []
    for model, result in of(results, "unlearn").items():
        first, last = (REQUEST.format(result["sizes"][i]) for i in (0, -1))
        pairs = (("request", PLAIN), (RETRAINING, "request"), (last, first))
        rows.append((model, *(ratio(result, *pair) for pair in pairs)))
    return pd.DataFrame(rows, columns=["model", *REQUESTS])


def speedup(result: dict, examples: int, epochs: int) -> float:
    """How many times faster than retraining a request is: from measured seconds a step, extrapolated.

    Retraining takes epochs * ceil((examples - request) / batch) plain steps.
    """
    steps = epochs * -(-(examples - result["request"]) // result["batch"])
    return steps / ratio(result, "request", PLAIN)


def machines(results: Results) -> pd.DataFrame:
    """What each result was measured on: columns benchmark, model, rounds, and those of MACHINE."""
    rows = ((*key, r["rounds"], *(r["machine"][k] for k in MACHINE)) for key, r in results.items())
    table = pd.DataFrame(rows, columns=["benchmark", "model", "rounds", *MACHINE])
    return table.rename(columns={"freed_memory": "freed memory"})


# -- figures ----------------------------------------------------------------------------------------------


def compared(table: pd.DataFrame, ours: str, label: str) -> plt.Figure:
    """One panel a model of `rounds`: median ratios on a log axis, whiskers quartiles; `ours` in colour."""
    models, longest = list(table["model"].unique()), table.groupby("model")["side"].nunique().max()
    drawn, axes = figure(0.34 * longest + 1.1, 1, len(models), squeeze=False, sharex=True)
    for ax, model in zip(axes.flat, models, strict=True):
        mine = table[table["model"] == model]
        colours = {s: OURS if s.startswith(ours) else MUTED for s in mine["side"].unique()}
        spread = {
            "estimator": "median",
            "errorbar": ("pi", 50),
            "err_kws": {"linewidth": 1.4},
            "markersize": 5,
        }
        sns.pointplot(
            mine, y="side", x="ratio", hue="side", palette=colours, ax=ax, linestyle="none", **spread
        )
        for height, (side, values) in enumerate(mine.groupby("side", sort=False)["ratio"]):
            place = (values.quantile(0.75), height)
            note(ax, f"{values.median():.3g} ×", place, "data", (7, 0), va="center", color=colours[side])
        ax.axvline(1, color=INK, lw=0.8, ls=(0, (4, 3)))
        ax.set(
            title=model, xlabel=label, ylabel="", xscale="log", xlim=(0.8, max(2, table["ratio"].max()) * 2.5)
        )
        ax.set_xticks(TICKS, map(str, TICKS))
        ax.set_xticks([], minor=True)
        ax.tick_params(axis="y", length=0)
    return drawn


def growth(results: Results) -> plt.Figure:
    """A column for each thing that grows; rows: the step's ratio, and how much smaller a record is."""
    points = pd.DataFrame(results["growth", "shapes"]["points"])
    points["smaller"] = points["dense_bytes"] / points["bytes"]
    # Median and quartiles as three observations, from which seaborn draws line and band.
    points["ratio"] = [[p.ratio, *p.ratio_quartiles] for p in points.itertuples()]
    points = points.explode("ratio").astype({"ratio": float}).reset_index(drop=True)
    grows = list(points["grows"].unique())
    drawn, axes = figure(4.4, 2, len(grows), squeeze=False, sharey="row", sharex="col")
    for (column, what), (row, measure) in product(enumerate(grows), enumerate(GROWING)):
        ax, mine = axes[row, column], points[points["grows"] == what]
        colour = (OURS, COLOURS["all_epochs"])[row]
        sns.lineplot(
            mine,
            x="value",
            y=measure,
            color=colour,
            marker="o",
            ax=ax,
            estimator="median",
            errorbar=("pi", 100),
        )
        ax.set(xscale="log", xlabel=what, ylabel=GROWING[measure])
        ticks = mine["value"].unique()[::2]
        ax.set_xticks(ticks, [f"{t / 1e6:.2g}M" if t >= 1e5 else f"{t:g}" for t in ticks])
        ax.set_xticks([], minor=True)
    for ax in axes[0]:
        ax.axhline(1, color=INK, lw=0.8, ls=(0, (4, 3)))
    axes[1, 0].set(yscale="log")
    axes[1, 0].set_yticks(TICKS[1:7], map(str, TICKS[1:7]))
    axes[1, 0].set_yticks([], minor=True)
    return drawn


def kinds(results: Results) -> plt.Figure:
    """One panel a model: megabytes an example by layer kind, stacked by what is stored."""
    ledgers = of(results, "ledger")
    drawn, axes = figure(3.5, 1, len(ledgers), squeeze=False)
    parts = {
        part for result in ledgers.values() for kind in result["bytes_by_kind"] for part in kind["parts"]
    }
    there = [part for part in PARTS if part in parts]
    for ax, (model, result) in zip(axes.flat, ledgers.items(), strict=True):
        told = sorted(result["bytes_by_kind"], key=lambda k: -sum(k["parts"].values()))
        rows = [(k["kind"], part, size / 1e6) for k in told for part, size in k["parts"].items()]
        table = pd.DataFrame(rows, columns=["kind", "stored", "MB"])
        bars = {
            "legend": False,
            "multiple": "stack",
            "shrink": 0.62,
            "palette": PARTS,
            "hue_order": PARTS,
            "alpha": 1,
            "lw": 0,
        }
        sns.histplot(table, y="kind", weights="MB", hue="stored", ax=ax, **bars)
        for height, kind in enumerate(told):
            text = f"dense {kind['dense_bytes'] / 1e6:,.3g} MB" if kind["dense_bytes"] else "tied"
            end = sum(kind["parts"].values()) / 1e6
            note(ax, text, (end, height), "data", (4, 0), va="center", fontsize=8)
        longest = table.groupby("kind")["MB"].sum().max()
        ax.set(title=model, xlabel="MB an example", ylabel="", xlim=(0, longest * 1.6))
        ax.tick_params(axis="y", length=0)
    patches = [plt.Rectangle((0, 0), 1, 1, color=PARTS[part]) for part in there]
    drawn.legend(patches, there, loc="outside lower center", ncols=len(there), frameon=False, fontsize=9)
    return drawn


def retraining(results: Results) -> plt.Figure:
    """How many times faster a request is than retraining, over examples; a line for each number of epochs.

    Lines are extrapolated by `speedup`; the point is measured outright.
    """
    measured = of(results, "unlearn")
    drawn, axes = figure(3.3, 1, len(measured), squeeze=False, sharey=True)
    for ax, (model, result) in zip(axes.flat, measured.items(), strict=True):
        for epochs in EPOCHS:
            times = [speedup(result, examples, epochs) for examples in EXAMPLES]
            sns.lineplot(x=EXAMPLES, y=times, color=MUTED, lw=1.4, ax=ax)
            note(ax, count(epochs, "epoch"), (EXAMPLES[-1], times[-1]), "data", (4, 0), va="center")
        point = result["retraining"]["examples"] + result["request"], ratio(result, RETRAINING, "request")
        ax.scatter(*point, s=55, color=OURS, zorder=3)
        note(ax, "measured", point, "data", (8, -10), color=OURS)
        ax.axhline(1, color=FAINT, lw=1)
        ax.set(xscale="log", yscale="log", xlabel="examples", title=model, xlim=(None, EXAMPLES[-1] * 4))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axis.set_minor_formatter(lambda value, _: "")
    axes[0, 0].set_ylabel("retraining, × the request")
    return drawn
