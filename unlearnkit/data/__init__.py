"""The study's facts, a user's own, and the texts that measure utility."""

from unlearnkit.data.example import Example
from unlearnkit.data.facts import background_facts, dave, holdout, persons, retarget

__all__ = ["Example", "background_facts", "dave", "holdout", "persons", "retarget"]
