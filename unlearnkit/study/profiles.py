"""A run of the study: a profile of `config` with what the user changed, and the folder that it goes to."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlearnkit import files, paths
from unlearnkit.errors import ConfigError, unknown
from unlearnkit.study.cells import digest
from unlearnkit.study.config import BUILT_IN, PROFILES, TAKES
from unlearnkit.study.parameters import require_allowed


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
    ConfigError for an unknown name, a value that a parameter cannot have, and data that cannot be read.
    """
    if name not in PROFILES:
        noted = _noted(name)
        return get(noted["profile"], noted["overrides"] | (overrides or {}))
    base = PROFILES[name]
    changed = {key: v for key, v in (overrides or {}).items() if base.get(key, ...) != v}
    if not changed:
        return Profile(name, TAKES[name], base)
    require_allowed(changed)
    from unlearnkit.models.digest import digest as model_digest  # here: the report needs none of it

    content = [model_digest(changed["model"])] if "model" in changed else []
    if changed.get("data"):
        content += _content(changed["data"])
    return Profile(f"{name}-{digest(changed, content)[:8]}", TAKES[name], base | changed, changed)


def own(name: str, changed: dict[str, Any]) -> Profile:
    """`get`, with model and data as a user names them: a file or folder, which keeps its meaning elsewhere.

    A hub id is fetched, since it has content only then. ConfigError and ModelError for what is not there, and
    a value that a parameter cannot have.
    """
    require_allowed(changed)
    named = {"data": _own_data, "model": _own_model}
    return get(name, {k: named[k](v) if v and k in named else v for k, v in changed.items()})


def _own_data(name: str) -> str:
    path = paths.expanded(name)
    if not path.exists():
        raise ConfigError(f"--data: there is no file {name}")
    return str(path.resolve())


def _own_model(name: str) -> str:
    from unlearnkit import models  # here: the report needs none of it
    from unlearnkit.models.digest import is_settled

    if (folder := paths.expanded(name)).is_dir():
        return str(folder.resolve())
    if not is_settled(name):
        models.fetch(name)
    return name


def record(profile: Profile) -> None:
    """Note in an overridden run's folder what it is, so that its name alone finds it again."""
    if profile.overrides:
        noted = {"profile": profile.name.rpartition("-")[0], "overrides": profile.overrides}
        files.write_text(profile.folder / "profile.json", json.dumps(noted, indent=1))


def is_built_in(profile: Profile) -> bool:
    """Whether a run is the built-in study: neither data, request, recipe nor model are a user's own."""
    own = any(profile[key] != value for key, value in BUILT_IN.items())
    return not own and profile["model"] in {values["model"] for values in PROFILES.values()}


def _content(where: str) -> list[str]:
    """The text of a file of facts, or of each file in a folder of them."""
    path = Path(where)
    try:
        parts = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        return [part.read_bytes().decode(errors="backslashreplace") for part in parts]
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise ConfigError(f"the data {where!r} cannot be read: {error}") from error


def _noted(name: str) -> dict[str, Any]:
    path = paths.build() / name / "profile.json"
    if not path.is_file():
        raise ConfigError(unknown("run", name, PROFILES))
    try:
        noted = json.loads(path.read_bytes())
        return {"profile": noted["profile"], "overrides": dict(noted["overrides"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged: delete the folder {path.parent} and run it again") from error
