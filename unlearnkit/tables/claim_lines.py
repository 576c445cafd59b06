"""A claim's verdicts in words, an arm a line."""

from unlearnkit.tables.wording import count, p_value


def claim_lines(rows: list[dict], claim: str) -> str:
    """A Markdown list: arm, verdict, estimate against the margin, interval, p, and the detectable effect."""
    mine = [row for row in rows if row["id"] == claim]
    return "\n".join(_line(row) for row in mine) or "* This run walks no path that the claim needs."


def _line(row: dict) -> str:
    seeds = count(row["n_seeds"], "seed")
    text = f"* {row['arm']}: **{row['verdict']}**. Estimate {row['estimate']:+.3f} nats"
    if row["ci_low"] is None:
        return f"{text}, from {seeds}: no interval, hence no verdict on a direction."
    text += f" (95 % interval over {seeds}: {row['ci_low']:+.3f} to {row['ci_high']:+.3f}"
    text += f"; Holm p {p_value(row['p_holm'])})" if row["p_holm"] is not None else "; no variance, no test)"
    text += f", margin {row['margin']:g}."
    if row["verdict"] == "undecided" and row["detectable"] is not None:
        found = f"{row['detectable']:.3f} nats (power 0.8, before Holm's correction)"
        text += f" With this spread, {seeds} could have found {found}."
    return text
