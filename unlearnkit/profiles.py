"""What a run uses: three named sizes of the same study. The one place of the study's parameters."""

import ast
import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from . import paths
from .errors import ConfigError

FIGURES = "UNLEARNKIT_FIGURES"  # environment variable: the folder of one kernel's figures


@dataclass(frozen=True)
class Profile:
    """One run of the study.

    name        folder of the run below build/: the profile, with a digest when values were overridden
    takes       about how long, on two cores and from an empty cache; measured, for people
    parameters  read by the study, and given to every notebook that declares a parameter of that name;
                JSON values: str, bool, int, float, list
    notebooks   parameters of one notebook only: {notebook: {name: value}}
    overrides   what the user changed, by name
    """

    name: str
    takes: str
    parameters: dict[str, Any]
    notebooks: dict[str, dict[str, Any]] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where this run's executed notebooks, figures, tables and report go."""
        return paths.build() / self.name

    @property
    def figures(self) -> Path:
        """Where figures and tables go: into the run's folder, or where `reproduce` told this kernel."""
        return Path(os.environ.get(FIGURES) or self.folder / "figures")

    def __getitem__(self, name: str) -> Any:
        return self.parameters[name]

    def values_for(self, notebook: str, declared: dict[str, Any]) -> dict[str, Any]:
        """Every declared parameter of a notebook with the value that this run gives it.

        `declared` maps the names in its parameters cell to their defaults. The name `profile` is
        given the run's name, so that `profiles.get(profile)` in the notebook returns this object.
        """
        own = self.notebooks.get(notebook, {})
        if unknown := sorted(set(own) - set(declared)):
            raise ConfigError(unknown_name("parameter", unknown[0], declared, f" of notebook {notebook}"))
        given = self.parameters | own | self.overrides | {"profile": self.name}
        return {name: given.get(name, default) for name, default in declared.items()}


# `model`, `data` and `forget` may be a user's own (MODEL=, DATA=, FORGET= of make); "" means built in. Then
# the companion arms, which exist to carry many seeds of the built-in study, are left out.
BUILT_IN = {"data": "", "forget": "Dave"}
NO_COMPANION = {"seeds_tiny_adamw": 0, "seeds_tiny_sgd": 0, "seeds_untied": 0}
COMPANION = {"seeds_tiny_adamw": 20, "seeds_tiny_sgd": 3, "seeds_untied": 2}
PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "quick",
            "3 minutes",
            {
                **{"model": "gpt2-tiny-pretrained-quick", **BUILT_IN, "whole_map": False},
                **{"seeds_adamw": 2, "seeds_sgd": 0, **NO_COMPANION},
            },
        ),
        Profile(
            "default",
            "60 minutes",
            {
                **{"model": "smollm2-135m", **BUILT_IN, "whole_map": False},
                **{"seeds_adamw": 3, "seeds_sgd": 0, **COMPANION},
            },
        ),
        Profile(
            "full",
            "4 hours, in resumable slices",
            {
                **{"model": "smollm2-135m", **BUILT_IN, "whole_map": True},
                **{"seeds_adamw": 3, "seeds_sgd": 3, **COMPANION, "seeds_tiny_sgd": 20},
            },
        ),
    )
}


def get(name: str, overrides: dict[str, Any] | None = None) -> Profile:
    """The profile of that name, or the overridden run that `record` noted under that name.

    Overrides equal to the profile's own value change nothing; any other moves the run to a folder of its own.
    """
    if name not in PROFILES:
        noted = _noted(name)
        return get(noted["profile"], noted["overrides"] | (overrides or {}))
    base = PROFILES[name]
    changed = {key: v for key, v in (overrides or {}).items() if base.parameters.get(key, ...) != v}
    if not changed:
        return base
    digest = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]
    return replace(base, name=f"{name}-{digest}", parameters=base.parameters | changed, overrides=changed)


def record(profile: Profile) -> None:
    """Note in an overridden run's folder what it is, so that its name alone finds it again."""
    if profile.overrides:
        profile.folder.mkdir(parents=True, exist_ok=True)
        noted = {"profile": profile.name.rpartition("-")[0], "overrides": profile.overrides}
        (profile.folder / "profile.json").write_text(json.dumps(noted, indent=1))


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
        raise ConfigError(unknown_name("profile", name, PROFILES))
    return json.loads(path.read_text())
