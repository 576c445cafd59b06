"""The one frame of every unlearning method: it checks inputs, walks, measures, and puts the model back.

A method is a generator `walk(inputs, stops, **options)` that changes the model in place and yields, at every
stop, a dict of what it has to tell about the place; `alpha` among it, where that means something. `kinds`
makes such generators from less. Imports no torch until a method runs, so that a plan lists METHODS at once.
"""

import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any

from unlearnkit.errors import MethodError, unknown
from unlearnkit.unlearning.inputs import INPUTS, Inputs, Stops
from unlearnkit.unlearning.limits import hints_of, require_fits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from unlearnkit.data import Example
    from unlearnkit.layers import Layers
    from unlearnkit.unlearning.delta import Delta
    from unlearnkit.unlearning.originals import Originals

FAMILIES = (
    "paper",
    "replay",
    "ascent",
    "preference",
    "distillation",
    "representation",
    "reward",
    "weights",
    "retraining",
    "prompt",
    "own",
    "control",
)  # in tables' order
READS = ("first epoch", "others", "factors", "moments", "updates")
REQUIRED = inspect.Parameter.empty  # the default of an option that has none


@dataclass(frozen=True)
class Method:
    """What tables, plots and plans know of a method.

    options    its own hyperparameters with their defaults; `hints` are their annotations: what they can be
    needs      those of INPUTS that it cannot do without
    wants      by option, the one of INPUTS that it needs as well where that option is not 0
    fields     fields of Example that those to forget cannot lack
    reads      what of READS it reads beside the request's records (others', their factors, AdamW's v, each
               step's update), of all epochs or its option's; "first epoch" is a limit to the records of that
    stops      which strengths it takes: alpha and norm of `apply`, alphas and norms of `path`
    moves      whether it moves weights; a prompt does not
    installs   whether it puts something beside the weights, without which they are not its result
    goes_back  whether stops may come in any order: each is taken from the start, and none depends on others
    follows    the optimizer whose steps it takes, where that is one
    check      given model, layers and options, it raises an UnlearnkitError for options that cannot be there
    version    goes up when its numbers change; cached results of another version do not count
    """

    name: str
    module: str  # where it is defined
    walk: Callable[..., Iterator[dict]] = field(repr=False)
    options: Mapping[str, Any]
    title: str
    hints: Mapping[str, Any] = field(default_factory=dict, repr=False)
    family: str = "own"
    source: str = ""
    needs: tuple[str, ...] = ()
    wants: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    stops: tuple[str, ...] = ("alpha", "norm", "alphas", "norms")
    moves: bool = True
    installs: bool = False
    goes_back: bool = False
    follows: str = ""
    check: Callable[..., None] = field(default=lambda _model, _layers, _options: None, repr=False)
    version: int = 1

    def __post_init__(self) -> None:
        inputs = (*self.needs, *self.wants.values())
        for what, known in (([self.family], FAMILIES), (inputs, INPUTS), (self.reads, READS)):
            if unknown := set(what) - set(known):
                raise MethodError(f"method {self.name!r}: {min(unknown)!r} is none of {', '.join(known)}")

    def requires(self, option: str) -> bool:
        """Whether it has this option, and no default for it."""
        return self.options.get(option) is REQUIRED

    def needed(self, given: Mapping[str, Any]) -> tuple[str, ...]:
        """Those of INPUTS that it cannot do without if it is given these options."""
        options = {**self.options, **given}
        return (*self.needs, *(what for option, what in self.wants.items() if options[option]))

    def options_from(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every option's value. MethodError for an unknown or impossible one, or none and no default."""
        self.judge(given)
        whole = {k: int(v) for k, v in given.items() if isinstance(v, Integral) and not isinstance(v, bool)}
        options = {**self.options, **given, **whole}  # of numpy's integers, Python's
        if missing := [k for k, value in options.items() if value is REQUIRED]:
            raise MethodError(f"method {self.name!r} needs {missing[0]}=: pass it to unlearning.apply")
        return options

    def judge(self, given: Mapping[str, Any]) -> None:
        """MethodError for an unknown option, and for a value that one cannot have."""
        for name, value in given.items():
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise MethodError(f"method {self.name!r} has no option {name!r}; it has: {known}")
            require_fits(f"method {self.name!r}: {name}", value, self.hints.get(name, Any))

    def require_fields(self, forget: "Iterable[Example]") -> None:
        """MethodError for an example to forget without one of `fields`."""
        for example in forget if self.fields else ():
            if lacking := [name for name in self.fields if not getattr(example, name)]:
                raise MethodError(
                    f"method {self.name!r} needs the {lacking[0]} of every example to forget, and "
                    f"{example.id!r} has none: give it in the data, or choose another method"
                )


METHODS: dict[str, Method] = {}  # by family, then by name


def register(function: Callable, walk: Callable, settings=None, hints=None, **said) -> None:
    """Add a method, named as `function` is, to METHODS. MethodError for a name that another module took.

    Options are its keyword-only parameters, and `settings` of these `hints`; `said` are fields of Method.
    """
    name, module = function.__name__, function.__module__
    if name in METHODS and METHODS[name].module != module:
        raise MethodError(
            f"method {name!r} is defined in {METHODS[name].module} already: choose another name"
        )
    own = inspect.signature(function).parameters.values()
    options = {p.name: p.default for p in own if p.kind is p.KEYWORD_ONLY} | (settings or {})
    told = hints_of(function) | (hints or {})
    said["hints"] = {option: told[option] for option in options}
    METHODS[name] = Method(name, module, walk, options, **said)
    ordered = sorted(METHODS.values(), key=lambda m: (FAMILIES.index(m.family), m.name))
    METHODS.clear()
    METHODS.update((m.name, m) for m in ordered)


@dataclass
class Result:
    """Where a method brought the model. `norm` is the distance from the start; `told` its own remarks."""

    method: str
    alpha: float | None  # what multiplied the direction, all steps together; None where there is none
    norm: float
    seconds: float  # since the stop before
    layers: "Layers"
    told: dict[str, Any]
    originals: "Originals" = field(repr=False)
    _model: "PreTrainedModel" = field(repr=False)
    _place: int = field(repr=False)

    @property
    def touched(self) -> list[str]:
        """Names of the parameters that the method might move."""
        return list(self.originals.touched)

    def revert(self) -> None:
        """Put back every touched weight, bit for bit, and take away what was installed."""
        self.originals.restore()

    def moved(self) -> "Result":
        """The same of a model that its caller moved on, along the way that it came; its ledger knows it."""
        from unlearnkit.ledger import identity

        place = identity.note_change(self._model, self._place)
        return replace(self, norm=self.originals.distance(), _place=place)

    def delta(self) -> "Delta":
        """The change made, to be added to others or taken back. MethodError once the model has moved on."""
        from unlearnkit.ledger import identity
        from unlearnkit.unlearning.delta import Delta

        if not self.originals.touched:
            raise MethodError(f"method {self.method!r} moves no weight: it has no delta")
        if identity.place(self._model) != self._place:
            raise MethodError(f"the model has moved on since {self.method!r}: ask for delta() right after it")
        return Delta.since(self.originals)


def prepare(name: str, model, request, layers, check_model: bool, given: dict, strengths: dict) -> tuple:
    """(method, Inputs, Stops, options), checked. `given` mixes inputs and options, as a caller does."""
    if name not in METHODS:
        raise MethodError(unknown("method", name, METHODS))
    method = METHODS[name]
    ids = [request] if isinstance(request, str) else list(dict.fromkeys(request))
    layers = list(layers) if isinstance(layers, Iterable) and not isinstance(layers, str) else layers
    inputs = Inputs(name, model, ids, layers, method.moves, **{k: given[k] for k in INPUTS if k in given})
    options = method.options_from({k: v for k, v in given.items() if k not in INPUTS})
    inputs.check(method.needed(options), check_model)
    method.require_fields(inputs.forget if inputs.examples else ())
    method.check(model, layers, options)
    return method, inputs, _stops(method, strengths), options


def _stops(method: Method, strengths: dict[str, Iterable[float] | None]) -> Stops:
    told = {k: v for k, v in strengths.items() if v is not None}
    if not method.stops and not told:
        return Stops(method.name)
    if method.stops and len(told) != 1:
        raise MethodError(
            f"give exactly one of {'= and '.join(strengths)}=: a multiple of the direction, or a length"
        )
    (name, values) = next(iter(told.items()))
    if name not in method.stops:
        usable = [f"{k}=" for k in strengths if k in method.stops]
        raise MethodError(
            f"method {method.name!r} has no fixed direction that {name}= could scale: give "
            f"{usable[0] if usable else 'its options, ' + ', '.join(method.options)}"
        )
    values = values if isinstance(values, Iterator) else tuple(values)
    return Stops(method.name, name.removesuffix("s"), values)


def walk(method: Method, inputs: Inputs, stops: Stops, options: dict, keep: bool) -> Iterator[Result]:
    """A Result at every stop, the model standing there; the start again in the end, unless it is to `keep`.

    Dropout is off meanwhile. A walk that fails or is left early always ends at the start.
    """
    from unlearnkit.forward import evaluation_mode
    from unlearnkit.ledger import identity

    started, before = time.perf_counter(), identity.place(inputs.model)
    originals, arrived = inputs.originals, False
    try:
        with evaluation_mode(inputs.model), closing(method.walk(inputs, stops, **options)) as places:
            for told in places:
                seconds = time.perf_counter() - started
                alpha, here = told.pop("alpha", None), identity.note_change(inputs.model, before)
                where = (alpha, originals.distance(), seconds, inputs.layers, told)
                yield Result(method.name, *where, originals, inputs.model, here)
                started = time.perf_counter()
        arrived = True
    finally:
        if not (arrived and keep):
            originals.restore()
