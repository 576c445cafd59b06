"""A run of the study: a profile of `config` with what the user changed, and the folder that it goes to."""

import ast
import json
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from unlearnkit import files, paths
from unlearnkit.errors import ConfigError
from unlearnkit.study.cells import digest
from unlearnkit.study.config import BUILT_IN, PROFILES, TAKES


@dataclass(frozen=True)
class Profile:
    """One run of the study.

    name        folder of the run below build/: the profile, with a digest when values were overridden
    takes       about how long, on two cores and from an empty cache; measured, for people
    parameters  read by the study, and given to every notebook that declares a parameter of that name;
                JSON values: str, bool, int, float, list
    overrides   what the user changed, by name
    """

    name: str
    takes: str
    parameters: dict[str, Any]
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where this run's data, executed notebooks, figures, tables and report go."""
        return paths.build() / self.name

    def __getitem__(self, name: str) -> Any:
        return self.parameters[name]


def get(name: str, overrides: dict[str, Any] | None = None) -> Profile:
    """The profile of that name, or the overridden run that `record` noted under that name.

    Overrides equal to the profile's own value change nothing; any other moves the run to a folder of its own,
    named after the content of the model and of the data, so that what else lies behind a path is another run.
    """
    if name not in PROFILES:
        noted = _noted(name)
        return get(noted["profile"], noted["overrides"] | (overrides or {}))
    base = PROFILES[name]
    changed = {key: v for key, v in (overrides or {}).items() if base.get(key, ...) != v}
    if not changed:
        return Profile(name, TAKES[name], base)
    from unlearnkit.models.digest import digest as model_digest  # here: the report needs none of it

    content = [model_digest(changed["model"])] if "model" in changed else []
    if changed.get("data"):
        content.append(Path(changed["data"]).read_text())
    return Profile(f"{name}-{digest(changed, content)[:8]}", TAKES[name], base | changed, changed)


def record(profile: Profile) -> None:
    """Note in an overridden run's folder what it is, so that its name alone finds it again."""
    if profile.overrides:
        noted = {"profile": profile.name.rpartition("-")[0], "overrides": profile.overrides}
        files.write_text(profile.folder / "profile.json", json.dumps(noted, indent=1))


def is_built_in(profile: Profile) -> bool:
    """Whether a run is the built-in study: neither data, request nor model are a user's own."""
    own = any(profile[key] != value for key, value in BUILT_IN.items())
    return not own and profile["model"] in {values["model"] for values in PROFILES.values()}


def parse_overrides(known: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """The values in `name=value` texts, each of its default's type. ConfigError for anything else."""
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"parameter {assignment!r} is not of the form name=value")
        if name not in known:
            raise ConfigError(unknown_name("parameter", name, known))
        values[name] = parse_value(name, text, known[name])
    return values


def parse_value(name: str, text: str, default: Any) -> Any:
    """The value of `name=text`, of the type of the parameter's default. ConfigError where it is another."""
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError):
        value = text
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if default is not None and type(value) is not type(default):
        raise ConfigError(
            f"parameter {name}: {text!r} is not of type {type(default).__name__}; the default is {default!r}"
        )
    return value


def unknown_name(kind: str, name: str, known: Any, where: str = "") -> str:
    """`unknown KIND 'NAME'`, the nearest known name, and all of them."""
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {kind} {name!r}{where}{hint} (known: {', '.join(sorted(known)) or 'none'})"


def _noted(name: str) -> dict[str, Any]:
    path = paths.build() / name / "profile.json"
    if not path.is_file():
        raise ConfigError(unknown_name("run", name, PROFILES))
    return json.loads(path.read_text())
