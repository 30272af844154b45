"""A column of times, whose format is found in a sample, said, and the same for every row.

Each way of reading times is tried on the sample, and the one that reads most of it
wins. Where two read it alike, as with 01/02/2024, nothing is guessed. Every row is then read
in that one way, each for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfx_pipeline.datasets.convert import is_text
from tfx_pipeline.datasets.importer.since_epoch import is_number
from tfx_pipeline.datasets.importer.time_format import KINDS
from tfx_pipeline.datasets.importer.time_format import UNITS
from tfx_pipeline.datasets.importer.time_format import TimeFormat
from tfx_pipeline.datasets.importer.time_format import TimeOptions
from tfx_pipeline.datasets.importer.time_format import described
from tfx_pipeline.datasets.timestamps import DAY
from tfx_pipeline.datasets.timestamps import EARLIEST
from tfx_pipeline.datasets.timestamps import FAR_FUTURE
from tfx_pipeline.datasets.timestamps import latest
from transforms.arrow import pa
from transforms.arrow import pc

_EXAMPLES = 3
_HEAD = 10_000  # values on which every format is tried
# The years 1 to 9999, which is what dates of four digits can say, in any zone.
_FIRST, _END = -62_135_596_800_000_000 - DAY, 253_402_300_800_000_000 + DAY


class TimeRange(NamedTuple):
    """Times that a column is expected to hold, by which its format is found.

    Attributes:
        earliest: The first one, in microseconds since the epoch.
        end: What all of them are before.
        last: The end in words.
        otherwise: What to do where nothing says when.
        beyond: Whether times out of the range show the format, too.
    """

    earliest: int
    end: int
    last: str
    otherwise: str
    beyond: bool = False

    def holds(self, times: pa.Array) -> np.ndarray:
        """Returns which times [n] are in the range, [n] bool."""
        return _between(times, self.earliest, self.end)


# A catalogue may well have films of 1961 and books that come out next year.
TIMES_OF_ITEMS = TimeRange(EARLIEST, FAR_FUTURE, "2100", "leave `--available-from` away", True)


def times_of_events() -> TimeRange:
    """Returns the range of events, none of which is later than tomorrow."""
    return TimeRange(EARLIEST, latest(), "tomorrow", "use `--order file` in place of `--time`")


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
        name: Name of the column.
        format: The format; None before the first value.
    """

    def __init__(
        self, name: str, file: str, options: TimeOptions, most_bad: float, expected: TimeRange
    ) -> None:
        """Takes the names of column and file, and what `find_time_format` takes."""
        self.name, self._where = name, f"`{name}` of `{file}`"
        self._options, self._most_bad, self._expected = options, most_bad, expected
        self.format: TimeFormat | None = None

    def read(self, column: pa.Array) -> FoundTimes:
        """Reads the next values [n].

        Raises:
            ValueError: The first values show no format, or several.
        """
        if self.format is None:
            self.format = find_time_format(
                column, self._where, self._options, self._most_bad, self._expected
            )
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
        left = np.flatnonzero(_is_given(column) & ~self._expected.holds(times))
        for kind in KINDS:
            if not len(left):
                break
            rest = column.take(pa.array(left))
            good = self._expected.holds(TimeFormat(kind, self.format.zone).parse(rest))
            if good.any():
                mask = np.zeros(len(column), bool)
                mask[left[good]] = True
                found[str(described(kind, self.format.zone, rest.filter(pa.array(good))))] = mask
                left = left[~good]
        return found


def find_time_format(
    sample: pa.Array, where: str, options: TimeOptions, most_bad: float, expected: TimeRange
) -> TimeFormat | None:
    """Finds how a column of times is to be read.

    Args:
        sample: [n] of its first values.
        where: Column and file, for messages.
        options: What the user said. A format that is named is taken if it reads nearly all;
            else it is meant for other columns.
        most_bad: Largest share of the sample that may be in no or another format.
        expected: Times that the column is to hold.

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
        return TimeFormat("typed", zone, zoned=aware, local=not aware)
    if not (numeric or is_text(sample.type)):
        raise ValueError(
            f"{where} is of the type {sample.type}, which holds no times. Name the column of "
            "times, or write numbers or ISO 8601 (2024-05-01T12:00:00Z)."
        )
    head = sample.slice(0, _HEAD)
    reads = _reads(head, KINDS, zone, expected)
    enough = max(1, (1 - most_bad) * len(head))
    alike = [kind for kind in options.kinds() if reads[kind].sum() >= enough] or _best(reads)
    if reads[alike[0]].sum() < enough:
        raise ValueError(_mixed(head, where, reads, zone, expected))
    if len(alike) > 1:  # a day above 12 may come later
        alike = _best(_reads(sample, alike, zone, expected))
    if expected.beyond and "digits" in alike:
        alike = ["digits"]  # 19890131 is a date, and hardly seconds of August 1970
    if len(alike) > 1:
        raise ValueError(_ambiguous(sample, where, alike))
    shown = head.filter(pa.array(reads[alike[0]]))
    return described(alike[0], zone, shown)


def _reads(
    sample: pa.Array, kinds: Sequence[str], zone: str, expected: TimeRange
) -> dict[str, np.ndarray]:
    """Returns which values [n] each kind of format reads, [n] bool.

    Where times `beyond` the range count, a value that no kind reads as one within it is read
    by every kind by which it is a time. The values within the range then say which is meant.
    """
    times = {kind: TimeFormat(kind, zone).parse(sample) for kind in kinds}
    reads = {kind: expected.holds(values) for kind, values in times.items()}
    if expected.beyond:
        outside = ~np.any(list(reads.values()), axis=0)
        reads = {
            kind: reads[kind] | (outside & _between(values, _FIRST, _END))
            for kind, values in times.items()
        }
    return reads


def _best(reads: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the kinds of formats that read most."""
    counts = {kind: int(mask.sum()) for kind, mask in reads.items()}
    return [kind for kind, count in counts.items() if count == max(counts.values())]


def _between(times: pa.Array, first: int, end: int) -> np.ndarray:
    """Returns which times [n] are there, not before the first, and before the end, [n] bool."""
    values = np.asarray(times.fill_null(end))
    return (values >= first) & (values < end)


def _ambiguous(sample: pa.Array, where: str, kinds: Sequence[str]) -> str:
    """Says which formats read a sample alike."""
    examples = ", ".join(f"`{value}`" for value in _examples(sample))
    words = [f"{UNITS[kind]} since 1970" if kind in UNITS else kind for kind in kinds]
    which = "`--date-order day-first` or `--date-order month-first`"
    if set(kinds) & set(UNITS):
        which = "`--time-unit`, or name another column if they are no times"
    return f"{where} is ambiguous: {examples} may be {' or '.join(words)}. Say which with {which}."


def _mixed(
    sample: pa.Array, where: str, reads: Mapping[str, np.ndarray], zone: str, expected: TimeRange
) -> str:
    """Says which formats a sample has, or that it has none."""
    left, told = np.ones(len(sample), bool), []
    for kind in sorted(reads, key=lambda kind: -reads[kind].sum()):
        if (good := reads[kind] & left).any():
            read = sample.filter(pa.array(good))
            told.append(f"{len(read):,} are {described(kind, zone, read)} (`{_examples(read)[0]}`)")
            left &= ~good
    if not told:
        shown = ", ".join(f"`{value}`" for value in _examples(sample))
        return (
            f"{where} does not hold times between 1990 and {expected.last}; it starts with "
            f"{shown}. "
            "Expected numbers since 1970 (s, ms, us, ns) or dates with four digits of the year "
            "(2024-05-01 12:00:00). If the column is not the time, name another one; if nothing "
            f"says when, {expected.otherwise}."
        )
    if left.any():
        rest = sample.filter(pa.array(left))
        told.append(f"{len(rest):,} are none (`{_examples(rest)[0]}`)")
    return (
        f"{where} has times of several kinds, so no one way reads them: of its first "
        f"{len(sample):,}, {'; '.join(told)}. Write all of them alike, put the kinds into files "
        "of their own, or have the fewer ones left out with `--max-dead-letter-fraction`."
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
