"""What is asked for, as on the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unlearnkit import devices
from unlearnkit.data.records import half_character
from unlearnkit.errors import ConfigError
from unlearnkit.study.config import DEFAULT_METHOD


@dataclass(frozen=True)
class Job:
    """A request to forget. Without a `key` the user's own signs."""

    model: str
    data: str
    who: str
    out: Path
    method: str = DEFAULT_METHOD
    ledger: str = ""
    history: str = ""
    key: str = ""
    device: str = devices.AUTO
    asked_by: str = ""
    train: bool = False
    purge: bool = False
    options: Sequence[str] = ()  # texts of the form name=value

    def require(self) -> None:
        """ConfigError for an empty value, and for words that could not be signed: no bytes of UTF-8."""
        for name in ("model", "data", "who"):  # an empty path would be the current folder
            if not getattr(self, name).strip():
                raise ConfigError(f"--{name} is empty: give it a value")
        told = [("--who", self.who), ("--asked-by", self.asked_by), *(("-p", text) for text in self.options)]
        for name, text in told:
            if fault := half_character(text):
                raise ConfigError(f"{name} {text!r} {fault}")
