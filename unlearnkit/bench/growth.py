"""What the default ledger adds to a step as batch, texts and model grow, on small GPT-2 shapes."""

from dataclasses import replace

from unlearnkit.bench import sides
from unlearnkit.bench.setting import GPT2_SHAPE, Options, Setting
from unlearnkit.bench.timing import interleaved, quartiles, scratch, summary, tell
from unlearnkit.ledger import record_batches

BASE = Options(model=f"{GPT2_SHAPE}-12x256")
BATCHES = (2, 4, 8, 16, 32)
TOKENS = (8, 16, 32, 64, 128)
SHAPES = ("6x128", "12x128", "12x256", "12x384", "12x512")
STEPS = 2
DTYPE = "float16"


def points() -> list[tuple[str, Options]]:
    """What grows, and the setting of each measurement; the base belongs to all three."""
    return [
        *(("examples a step", replace(BASE, batch=n)) for n in BATCHES),
        *(("tokens an example", replace(BASE, tokens=n)) for n in TOKENS),
        *(("parameters", replace(BASE, model=f"{GPT2_SHAPE}-{shape}")) for shape in SHAPES),
    ]


def run(options: Options) -> dict:
    """At each point the ratio of a step with the ledger to a plain one, and bytes against dense ones."""
    found = []
    for what, at in points():
        tell(f"{what}: {at.model}, {at.batch} x {at.tokens} tokens")
        setting = Setting.make(at)
        value = {"examples a step": at.batch, "tokens an example": at.tokens}
        with scratch() as folder:
            both = {
                sides.PLAIN: sides.plain(setting, STEPS),
                sides.OURS[DTYPE]: sides.with_ledger(setting, folder, DTYPE, STEPS),
            }
            seconds, _ = interleaved(both, options.rounds)
            book = record_batches(setting.model, [setting.examples(0)], folder / "sizes", dtype=DTYPE)
            stored = book.info()["bytes_per_record"]
        ours = summary(seconds, sides.PLAIN)["sides"][sides.OURS[DTYPE]]
        found.append(
            {
                "grows": what,
                "value": value.get(what, setting.dense_bytes() // 4),
                "ratio": ours["ratio"],
                "ratio_quartiles": ours["ratio_quartiles"],
                "plain_seconds": seconds[sides.PLAIN],
                "plain_quartiles": quartiles(seconds[sides.PLAIN]),
                "bytes": stored,
                "dense_bytes": setting.dense_bytes(),
            }
        )
    return {"points": found, "base": {"model": BASE.model, "batch": BASE.batch, "tokens": BASE.tokens}}
