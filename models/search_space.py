"""What a search for hyperparameters tries: values, a table a family beside its configuration."""

from __future__ import annotations

from typing import Any
from typing import NamedTuple

from pydantic import Field

from transforms.base_config import Config


class TuningConfig(Config):
    """The section `tuning`: a search before the Trainer, for better values of its section.

    Attributes:
        minutes: Time for trials, which begin with the section as it is; 0 for no search. It
            is repeated when log, section or code change.
        trials: Most ended trials.
    """

    minutes: float = Field(0.0, ge=0)
    trials: int | None = Field(None, gt=0)


class Range(NamedTuple):
    """Numbers between two bounds.

    Attributes:
        low: The least.
        high: The greatest.
        log: Whether factors matter and not differences, as for learning rates.
    """

    low: float
    high: float
    log: bool = False

    def including(self, value: Any) -> Range:
        """Returns the range with a value in it."""
        return Range(min(self.low, value), max(self.high, value), self.log)


class Choices(NamedTuple):
    """Single values.

    Attributes:
        values: Numbers, names or booleans.
    """

    values: tuple[Any, ...]

    def including(self, value: Any) -> Choices:
        """Returns the choices with a value among them."""
        return self if value in self.values else Choices((*self.values, value))


Space = dict[str, Range | Choices]  # by dotted key of the Trainer's configuration
