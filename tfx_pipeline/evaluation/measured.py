"""A figure and its interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """A metric of a model in a slice, or its change.

    Attributes:
        value: Its value over the whole sample.
        low: Lower end of its bootstrap interval; None where none was computed.
        high: Its upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None
