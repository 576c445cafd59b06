"""Tables of notebook 04: parts of the model against each other, their bytes, and where gradients point."""

import pandas as pd

from unlearnkit import claims
from unlearnkit.profiles import Profile
from unlearnkit.study import results
from unlearnkit.study.results import alignment, layermap
from unlearnkit.tables.build import frame, mean_and_range
from unlearnkit.tables.wording import bytes_of, count, direction, p_value, sentence_list


def interval(row: dict, digits: int = 2) -> str:
    """`[-0.10, 0.20]` from ci_low and ci_high; a dash where there is none."""
    low, high = (row.get(k) for k in ("ci_low", "ci_high"))
    return "–" if low is None or low != low else f"[{low:+.{digits}f}, {high:+.{digits}f}]"


def contrasts(profile: Profile, arm: str) -> pd.DataFrame:
    """The embedding against every other selection, and against random parameters, at equal damage."""
    rows = []
    for row in layermap.against_embedding(profile, arm).to_dict("records"):
        layers, method = row["against"]
        name = layermap.layer_name(layers) if method == "first_epoch" else results.NAMES[method]
        rows.append(
            {
                "embedding against": name,
                "difference of D_F": f"{row['difference']:+.2f}",
                "95 % interval": interval(row),
                "p (Holm)": p_value(row.get("p_holm", float("nan"))),
                "closer in": f"{row['wins']} of {count(row['n'], 'seed')}",
            }
        )
    return frame(rows, "embedding against", "difference of D_F", "95 % interval", "p (Holm)", "closer in")


def parts(profile: Profile, arms: list[str]) -> pd.DataFrame:
    """Input part, output part and both of them, in every arm that walked them."""
    rows = []
    for arm in arms:
        table = layermap.readings(profile, arm, ("first_epoch",))
        for layers in ("embedding.input", "embedding.output", "embedding"):
            mine = table[table["layers"] == layers]
            if len(mine) and "embedding.input" in set(table["layers"]):
                rows.append(
                    {
                        "arm": arm,
                        "matrices": "one, tied" if alignment.tied(profile, arm) else "two",
                        "part": layermap.layer_name(layers),
                        "closer, at equal damage": mean_and_range(mine["gain"]),
                        "step (%)": mean_and_range(100 * mine["share"], 1),
                        "forget NLL rises, at equal step": mean_and_range(mine["rise"], 3),
                        "seeds": len(mine),
                    }
                )
    return frame(rows, *(rows[0] if rows else ("arm", "part")))


def space(profile: Profile, arms: list[str]) -> pd.DataFrame:
    """Parameters and ledger bytes of each part of the model, in the arms whose first ledger is on disk."""
    rows = []
    for arm in arms:
        table = layermap.space(profile, arm)
        for part in table.to_dict("records"):
            rows.append(
                {
                    "arm": arm,
                    "part": layermap.layer_name(part["part"]),
                    "parameters": f"{part['parameters']:,.0f}",
                    "share of parameters": f"{part['parameters'] / table['parameters'].sum():.1%}",
                    "bytes a record": bytes_of(part["bytes"]),
                    "share of bytes": f"{part['bytes'] / table['bytes'].sum():.1%}",
                }
            )
    return frame(rows, *(rows[0] if rows else ("arm", "part")))


def theory(table: pd.DataFrame) -> pd.DataFrame:
    """`alignment.theory` with columns for people."""
    rows = [
        {
            "arm": r.arm,
            "learning rate": r.lr,
            "epochs × steps": f"{r.epochs} × {r.steps}",
            "epoch 1's share": f"{r.share:.0%}",
            "if all were alike": f"{r.uniform:.0%}",
            "implied η λ": r.rate,
            "cos(epoch 1, oracle)": f"{r.first:+.3f}",
            "cos(all epochs, oracle)": f"{r.all:+.3f}",
            "C1, nats": f"{r.C1:+.2f}",
            "seeds": r.seeds,
        }
        for r in table.itertuples()
    ]
    return frame(rows, *(rows[0] if rows else ("arm",)))


def verdicts(rows: list[dict]) -> pd.DataFrame:
    """Rows of `results.verdicts` with columns for people."""
    told = [
        {
            "claim": f"{row['id']}: {row['statement']}",
            "arm": row["arm"],
            "estimate [95 %]": f"{row['estimate']:+.3f} {interval(row, 3)}",
            "margin": row["margin"],
            "p (Holm)": p_value(float("nan") if row["p_holm"] is None else row["p_holm"]),
            "seeds": row["n_seeds"],
            "verdict": row["verdict"],
        }
        for row in rows
    ]
    return frame(told, *(told[0] if told else ("claim",)))


def by_verdict(rows: list[dict], claim: str) -> str:
    """`replicated in A and B; undecided in C`: where each verdict on a claim was reached."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["id"] == claim:
            found.setdefault(row["verdict"], []).append(row["arm"])
    return "; ".join(f"{verdict} in {sentence_list(arms)}" for verdict, arms in found.items())


def random_parameters(table: pd.DataFrame) -> str:
    """What `layermap.against_embedding` says of random parameters; Holm's p decides, as in the table."""
    row = {r["against"]: r for r in table.to_dict("records")}.get(("all", "random_subset"))
    if not row:
        return (
            "Random parameters were not walked in this run, so that fewer parameters are not ruled out here."
        )
    verdict = "these seeds do not settle whether their number is what counts"
    if row.get("p_holm", 1.0) < claims.ALPHA:
        fewer = "their number alone does not explain the effect: it matters which they are"
        random = "fewer parameters are gentler whichever they are, and random ones more so"
        verdict = direction(row["difference"], fewer, random)
    side = direction(row["difference"], "closer to", "farther from")
    return (
        f"Against as many random parameters the embedding stands {abs(row['difference']):.2f} nats {side} "
        f"the oracle (95 % interval of the difference: {interval(row)}, uncorrected): {verdict}."
    )


def plain_sgd(table: pd.DataFrame) -> str:
    """What `alignment.theory` says of the arms for which the formula is derived, and of all arms together."""
    lines = [
        f"In {r.arm}, where the formula is derived, epoch 1 makes {r.share:.0%} of the forget facts' own "
        f"way, {r.share / r.uniform:.1f} times an even share; its C1 contrast is {r.C1:+.2f} nats."
        for r in table[table["optimizer"] == "sgd"].itertuples()
    ] or ["No arm of this run used plain SGD, for which alone the formula is derived."]
    agreement = alignment.agreement(table)
    if agreement == agreement:
        lines.append(
            f"Over the {len(table)} arms, share and C1 have a rank correlation of {agreement:+.1f}; the "
            "theory says positive. So few arms, which differ in model and optimizer at once, are an "
            "illustration and no test: one recipe an arm cannot separate learning rate, curvature and steps."
        )
    return " ".join(lines)


def embedding_space(profile: Profile, arms: list[str]) -> str:
    """The embedding's share of parameters and of ledger bytes, in the arms whose first ledger is on disk."""
    lines = []
    for arm in arms:
        table = layermap.space(profile, arm)
        if len(table):
            mine = table[table["part"].str.startswith("embedding")]
            if not len(mine):  # frozen: neither trained nor recorded
                continue
            mine = mine.sum(numeric_only=True)
            share = mine / table.sum(numeric_only=True)
            lines.append(
                f"{share['parameters']:.0%} of the parameters and {share['bytes']:.0%} of the bytes in {arm}"
            )
    return f"The embedding is {sentence_list(lines)}." if lines else "This run cannot tell bytes any more."
