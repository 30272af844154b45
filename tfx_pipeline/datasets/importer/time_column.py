"""A column of times, whose format is found in a sample, said, and the same for every row.

Each way of reading times is tried on the sample, and the one that reads most of it
wins. Where two read it alike, as with 01/02/2024, nothing is guessed. Every row is then read
in that one way, each for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfx_pipeline.datasets.convert import is_text
from tfx_pipeline.datasets.importer.since_epoch import is_number
from tfx_pipeline.datasets.importer.time_format import UNITS
from tfx_pipeline.datasets.importer.time_format import TimeFormat
from tfx_pipeline.datasets.importer.time_format import TimeOptions
from tfx_pipeline.datasets.importer.time_format import described
from tfx_pipeline.datasets.timestamps import EARLIEST
from tfx_pipeline.datasets.timestamps import latest
from transforms.arrow import pa
from transforms.arrow import pc

_EXAMPLES = 3
_HEAD = 10_000  # values on which every format is tried


class FoundTimes(NamedTuple):
    """A column of times as it was read.

    Attributes:
        values: [n] int64, null where a time is missing or does not parse.
        unparsable: [n] bool, where something is given that is no time.
    """

    values: pa.Array
    unparsable: np.ndarray


class TimeColumn:
    """A column of times of one file, whose format its first values show.

    Attributes:
        format: The format; None before the first value.
    """

    def __init__(self, where: str, options: TimeOptions, most_bad: float) -> None:
        """Takes column and file for messages, and what `find_time_format` takes."""
        self._where, self._options, self._most_bad = where, options, most_bad
        self.format: TimeFormat | None = None

    def read(self, column: pa.Array) -> FoundTimes:
        """Reads the next values [n].

        Raises:
            ValueError: The first values show no format, or several.
        """
        if self.format is None:
            self.format = find_time_format(column, self._where, self._options, self._most_bad)
        if self.format is None:  # nothing but missing values so far
            return FoundTimes(pa.nulls(len(column), pa.int64()), np.zeros(len(column), bool))
        values = self.format.parse(column)
        return FoundTimes(values, _is_given(column) & np.asarray(values.is_null()))

    def others(self, column: pa.Array, times: pa.Array) -> dict[str, np.ndarray]:
        """Finds other formats that read values which this one does not, as of mixed sources.

        Args:
            column: [n] the values.
            times: [n] what `read` made of them.

        Returns:
            By a format in words, which values are times in it, [n] bool.
        """
        found: dict[str, np.ndarray] = {}
        if self.format is None or self.format.kind == "typed":
            return found
        left = np.flatnonzero(_is_given(column) & ~_plausible(times))
        for kind in self._options.kinds():
            if not len(left):
                break
            rest = column.take(pa.array(left))
            good = _plausible(TimeFormat(kind, self.format.zone).parse(rest))
            if good.any():
                mask = np.zeros(len(column), bool)
                mask[left[good]] = True
                found[str(described(kind, self.format.zone, rest.filter(pa.array(good))))] = mask
                left = left[~good]
        return found


def find_time_format(
    sample: pa.Array, where: str, options: TimeOptions, most_bad: float
) -> TimeFormat | None:
    """Finds how a column of times is to be read.

    Args:
        sample: [n] of its first values.
        where: Column and file, for messages.
        options: What the user said.
        most_bad: Largest share of the sample that may be in no or another format.

    Returns:
        The format; None when the sample has no value.

    Raises:
        ValueError: No format reads nearly all of the sample, or two read it alike.
    """
    zone = options.zone or "UTC"
    sample = sample.dictionary_decode() if pa.types.is_dictionary(sample.type) else sample
    sample = sample.filter(pa.array(_is_given(sample)))
    if not len(sample):
        return None
    numeric = is_number(sample.type)
    if pa.types.is_timestamp(sample.type) or pa.types.is_date(sample.type):
        aware = pa.types.is_timestamp(sample.type) and sample.type.tz is not None
        return _accepted(TimeFormat("typed", zone, zoned=aware), where, options)
    if not (numeric or is_text(sample.type)):
        raise ValueError(
            f"{where} is of the type {sample.type}, which holds no times. Name the column of "
            "times, or write numbers or ISO 8601 (2024-05-01T12:00:00Z)."
        )
    head = sample.slice(0, _HEAD)
    counts = _counts(head, options.kinds(), zone)
    best = max(counts, key=lambda kind: counts[kind])
    if counts[best] < max(1, (1 - most_bad) * len(head)):
        raise ValueError(_mixed(head, where, counts, zone, options))
    alike = [kind for kind in counts if counts[kind] == counts[best]]
    if len(alike) > 1:  # a day above 12 may come later
        counts = _counts(sample, alike, zone)
        best = max(counts, key=lambda kind: counts[kind])
        alike = [kind for kind in counts if counts[kind] == counts[best]]
    if len(alike) > 1:
        examples = ", ".join(f"`{value}`" for value in _examples(sample))
        raise ValueError(
            f"{where} is ambiguous: {examples} may be {' or '.join(alike)}. Say which with "
            "`--date-order day-first` or `--date-order month-first`."
        )
    read = _plausible(TimeFormat(best, zone).parse(head))
    return _accepted(described(best, zone, head.filter(pa.array(read))), where, options)


def _counts(sample: pa.Array, kinds: Sequence[str], zone: str) -> dict[str, int]:
    """Returns how many times each format reads."""
    return {kind: int(_plausible(TimeFormat(kind, zone).parse(sample)).sum()) for kind in kinds}


def _accepted(found: TimeFormat, where: str, options: TimeOptions) -> TimeFormat:
    """Returns a format unless the zone that the user names means nothing for it."""
    if options.zone and (found.kind in UNITS or found.zoned):
        holds = "numbers since 1970, which are" if found.kind in UNITS else "times with a zone,"
        raise ValueError(f"{where} holds {holds} the same in every zone: leave `--time-zone` away.")
    return found


def _plausible(values: pa.Array) -> np.ndarray:
    """Returns which times [n] are there and in the range of a log, [n] bool."""
    numbers = np.asarray(values.fill_null(0))
    return (numbers >= EARLIEST) & (numbers < latest())


def _mixed(
    sample: pa.Array, where: str, counts: dict[str, int], zone: str, options: TimeOptions
) -> str:
    """Says which formats a sample has, or that it has none."""
    ranked = sorted((k for k in counts if counts[k]), key=lambda kind: -counts[kind])
    left, told = sample, []
    for kind in ranked:
        good = _plausible(TimeFormat(kind, zone).parse(left))
        if good.any():
            read = left.filter(pa.array(good))
            told.append(f"{len(read):,} are {described(kind, zone, read)} (`{_examples(read)[0]}`)")
        left = left.filter(pa.array(~good))
    if not told:
        shown = ", ".join(f"`{value}`" for value in _examples(sample))
        meant = f"{UNITS[options.unit]} since 1970" if options.unit != "auto" else "times"
        return (
            f"{where} does not hold {meant} between 1990 and tomorrow; it starts with {shown}. "
            "Expected numbers since 1970 (s, ms, us, ns) or dates with four digits of the year "
            "(2024-05-01 12:00:00). If the column is not the time, name another one; if nothing "
            "says when, use `--order file` in place of `--time`."
        )
    if len(left):
        told.append(f"{len(left):,} are none (`{_examples(left)[0]}`)")
    return (
        f"{where} has times of several kinds, so no one way reads them: of its first "
        f"{len(sample):,}, {'; '.join(told)}. Write all of them alike, put the kinds into files "
        "of their own, or let the fewer ones become dead letters with "
        "`--max-dead-letter-fraction`."
    )


def _examples(sample: pa.Array) -> Sequence[object]:
    """Returns a few distinct values as text."""
    values = sample.slice(0, 1_000).unique().slice(0, _EXAMPLES)
    if not is_text(values.type):
        return values.to_pylist()
    return [value.decode("utf-8", "replace") for value in values.cast(pa.binary()).to_pylist()]


def _is_given(column: pa.Array) -> np.ndarray:
    """Returns which values [n] are neither null nor an empty text, [n] bool."""
    if not is_text(column.type):
        return np.asarray(column.is_valid())
    return np.asarray(pc.greater(pc.binary_length(column), 0).fill_null(False))
