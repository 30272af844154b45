"""Folders of days: events that arrived on one day, as a job of every night writes them.

`events/day=2024-05-01/*.parquet`, or with another key or none before the date. They are what
TFX calls spans of the pattern `events/day={YYYY}-{MM}-{DD}/*`, numbered by the days since 1970.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import TypeVar

from pydantic import Field
from pydantic import model_validator

from transforms.base_config import Config

PathT = TypeVar("PathT", bound=PurePath)
_FOLDER = re.compile(r"(?:\w+=)?(\d{4}-\d{2}-\d{2})")
_EPOCH = datetime.date(1970, 1, 1)


class DayRange(Config):
    """Which folders of days are read; all, and files outside of any, where nothing is said.

    Attributes:
        first: The first day.
        last: The last day.
        newest: How many days, up to `last` or to the newest folder, instead of `first`.
    """

    first: datetime.date | None = None
    last: datetime.date | None = None
    newest: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check(self) -> DayRange:
        if self.first and self.newest:
            raise ValueError("`first` and `newest` both say where days begin; give one of them.")
        if self.first and self.last and self.first > self.last:
            raise ValueError(f"first ({self.first}) must not be after last ({self.last}).")
        return self

    def choose(self, paths: Iterable[PathT], root: PurePath) -> list[PathT]:
        """Returns the files of these days.

        Args:
            paths: Files of the events.
            root: Directory of the event log.

        Raises:
            ValueError: A file is in no folder of a day, or none is of these days.
        """
        found = {path: day_of(path, root) for path in paths}
        if not found or (self.first, self.last, self.newest) == (None, None, None):
            return list(found)
        loose = [path for path, day in found.items() if day is None]
        if loose:
            raise ValueError(
                f"`timeline.days` chooses among folders such as events/day=2024-05-01, and "
                f"`{loose[0].relative_to(root)}` is in none."
            )
        days = {day for day in found.values() if day is not None}
        last = min(self.last or max(days), max(days))
        first = self.first or min(days)
        if self.newest:
            first = last - datetime.timedelta(days=self.newest - 1)
        chosen = [path for path, day in found.items() if day and first <= day <= last]
        if not chosen:
            raise ValueError(
                f"`timeline.days` is {first} to {self.last or last}, and the event log has no "
                f"folder of these days: it has {min(days)} to {max(days)}."
            )
        return chosen


def day_of(path: PurePath, root: PurePath) -> datetime.date | None:
    """Returns the day of the innermost folder between `root` and a file that is named after one."""
    for folder in reversed(path.relative_to(root).parts[:-1]):
        if named := _FOLDER.fullmatch(folder):
            try:
                return datetime.date.fromisoformat(named[1])
            except ValueError:
                continue
    return None


def span_of(day: datetime.date) -> int:
    """Returns TFX's number of a span: days since 1970."""
    return (day - _EPOCH).days
