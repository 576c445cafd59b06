"""A training step that keeps every example's gradient, in several ways, against a plain step."""

from dataclasses import replace

from unlearnkit.bench import sides, sizes
from unlearnkit.bench.cases import LEDGERS, PLAIN, VMAP, Options
from unlearnkit.bench.setting import GPT2_SHAPE, Setting
from unlearnkit.bench.timing import KEEP, compared, in_child, provenance, scratch, tell
from unlearnkit.ledger.recording import DTYPE

OURS = LEDGERS[DTYPE]
OURS_TIMES = 3  # as many rounds of plain step and ledger: the machine's noise is as large as their difference
GROWING_STEPS = 2  # a turn, at each point of growth
# What grows, one thing at a time, on small GPT-2 shapes; the base belongs to all three.
BASE = Options(model=f"{GPT2_SHAPE}-12x256")
SHAPES = ("6x128", "12x128", "12x256", "12x384", "12x512")
GROWS = {
    "examples a step": [replace(BASE, batch=n) for n in (2, 4, 8, 16, 32)],
    "tokens an example": [replace(BASE, tokens=n) for n in (8, 16, 32, 64, 128)],
    "parameters": [replace(BASE, model=f"{GPT2_SHAPE}-{shape}") for shape in SHAPES],
}


def ledger(options: Options) -> dict:
    """Seconds a step of every side, bytes an example, bytes by layer kind, and errors against autograd."""
    setting = Setting.make(options)
    dense = setting.dense_bytes()
    with scratch(sides.room(setting)) as folder:
        every = sides.every(setting, folder)
        for name in set(every) - {PLAIN, *LEDGERS.values()}:
            every[name] = replace(every[name], rounds=options.rounds)
        found = compared(every, PLAIN, replace(options, rounds=OURS_TIMES * options.rounds))
        found |= sizes.stored(setting, folder)
        found["relative_error"] = {d: sizes.error(setting, folder / f"exact-{d}", d) for d in LEDGERS}
    return found | {"dense_bytes": dense, "parameters": dense // 4}


def kept(options: Options) -> dict:
    """The step of plain, default ledger and vmap in a process that keeps the memory it has freed.

    Who makes gigabytes anew in every step is helped most by that. `make reproduce` asks for it; others do
    not (`timing.freed_memory`).
    """
    return in_child(_kept, options, environment=KEEP)


def _kept(options: Options) -> dict:
    with scratch() as folder:
        every = sides.every(Setting.make(options), folder)
        found = compared({name: every[name] for name in (PLAIN, OURS, VMAP)}, PLAIN, options)
    return found | {"machine": provenance()}


def growth(options: Options) -> dict:
    """At each point the ratio of a step with the ledger to a plain one, and bytes against dense ones."""
    points = [_point(what, replace(at, rounds=options.rounds)) for what in GROWS for at in GROWS[what]]
    return {"points": points, "base": {"model": BASE.model, "batch": BASE.batch, "tokens": BASE.tokens}}


def _point(grows: str, at: Options) -> dict:
    tell(f"{grows}: {at.model}, {at.batch} x {at.tokens} tokens")
    setting = Setting.make(at)
    with scratch() as folder:
        every = sides.every(setting, folder, GROWING_STEPS)
        ours = compared({name: every[name] for name in (PLAIN, OURS)}, PLAIN, at)["sides"][OURS]
        stored = setting.recorded(folder / "sizes").info()["bytes_per_record"]
    dense = setting.dense_bytes()
    value = {"examples a step": at.batch, "tokens an example": at.tokens, "parameters": dense // 4}[grows]
    return {"grows": grows, "value": value, **ours, "bytes": stored, "dense_bytes": dense}
