"""Judges rows of an event log, a batch at a time, by the rules of `rules.py`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.columns import as_ragged
from tfx_pipeline.datasets.columns import invalid_utf8
from tfx_pipeline.datasets.columns import list_offsets
from tfx_pipeline.datasets.columns import rows_of
from tfx_pipeline.datasets.images import MAX_IMAGE_BYTES
from tfx_pipeline.datasets.images import MAX_IMAGE_PIXELS
from tfx_pipeline.datasets.images import image_faults
from tfx_pipeline.datasets.limits import VECTORS
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.rules import RULES
from tfx_pipeline.datasets.rules import reason
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.schemas import IMPRESSION
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.schemas import is_features
from tfx_pipeline.datasets.timestamps import date_of
from tfx_pipeline.datasets.timestamps import unit_hint
from transforms.arrow import pa
from transforms.arrow import pc

# What is judged is what somebody reads: nobody reads sessions yet.
COLUMNS = {
    EVENTS_TABLE: (
        "user_id",
        "entity_type",
        "entity_id",
        "event",
        "timestamp",
        "ordinal",
        "page_id",
        "position",
        "query",
        "value",
    ),
    CATALOGUE_TABLE: (
        "entity_type",
        "entity_id",
        "title",
        "categories",
        "attributes",
        "price",
        "available_from",
        "related_ids",
        "image",
        "image_vector",
        "text_vector",
    ),
    USERS_TABLE: ("user_id", "attributes"),
}
_FEATURES = ("entity_type", "entity_id")  # and the column of the field's values
_MISSING_AS_TEXT = pa.array(
    [b"nan", b"NaN", b"NAN", b"None", b"null", b"NULL", b"<NA>", b"NaT"], pa.binary()
)
_TEXT_LISTS = ("categories", "attributes", "related_ids")


class Finding(NamedTuple):
    """Rows of a batch at which a rule applies.

    Attributes:
        kind: Which rule.
        column: Of which column.
        bad: [n] bool, at which rows.
        hint: What completes the rule's message.
    """

    kind: str
    column: str
    bad: np.ndarray
    hint: str


class Judgement:
    """Findings in a batch; of each rejected row the first reason counts.

    Attributes:
        findings: What applies, in the order of the checks.
        good: [n] bool, which rows are not rejected.
    """

    def __init__(self, table: str, rows: int) -> None:
        """Starts with nothing against any of the rows."""
        self._table = table
        self._reasons = [""]
        self._codes = np.zeros(rows, np.int16)
        self.findings: list[Finding] = []
        self.good = np.ones(rows, bool)

    def mark(self, kind: str, column: str, bad: np.ndarray | None, hint: str = "") -> None:
        """Notes rows at which a rule applies; `bad` is [n] bool, or None for none."""
        if bad is None:
            return
        bad = bad & self.good
        if not bad.any():
            return
        self.findings.append(Finding(kind, column, bad, hint))
        if RULES[kind].effect == "reject":
            self._reasons.append(reason(kind, column, self._table))
            self._codes[bad] = len(self._reasons) - 1
            self.good = self._codes == 0

    @property
    def rejected(self) -> np.ndarray:
        """Numbers of the rows that are rejected."""
        return np.flatnonzero(self._codes)

    def reasons(self) -> list[str]:
        """Returns why, for each of `rejected`."""
        return [self._reasons[code] for code in self._codes[self.rejected]]

    def repaired(self) -> dict[str, int]:
        """Returns how many values were dropped from their rows, by reason."""
        counts: dict[str, int] = {}
        for kind, column, bad, _ in self.findings:
            if RULES[kind].effect == "repair":
                why = reason(kind, column, self._table)
                counts[why] = counts.get(why, 0) + int(bad.sum())
        return counts


def judged_columns(table: str, limits: Limits) -> tuple[str, ...]:
    """Returns the columns of a table that are judged, which are those that somebody reads."""
    if not is_features(table):
        return COLUMNS[table]
    return (*_FEATURES, "vector" if table in limits.vector_sizes else "tokens")


def judge(batch: Batch, limits: Limits) -> Judgement:
    """Judges rows of any table, by themselves.

    Columns that the batch lacks are not judged: a reader that leaves images
    unread, say, does not ask about them.

    Args:
        batch: The rows.
        limits: What they have to keep to.
    """
    found = Judgement(batch.table, len(batch))
    judges = {EVENTS_TABLE: _events, CATALOGUE_TABLE: _catalogue, USERS_TABLE: _users}
    (_features if is_features(batch.table) else judges[batch.table])(batch, limits, found)
    return found


def judge_names(batch: Batch) -> Judgement:
    """Judges only what names the entities of catalogue rows."""
    found = Judgement(batch.table, len(batch))
    _names(batch, found)
    return found


def _events(batch: Batch, limits: Limits, found: Judgement) -> None:
    _id(batch, "user_id", found)
    _names(batch, found)
    _id(batch, "event", found)
    _times(batch, "timestamp", limits, found)
    if batch.has("ordinal"):
        found.mark("null-ordinal", "ordinal", np.asarray(batch.column("ordinal").is_null()))
    if limits.event_types and batch.has("event"):
        meant = pa.array([name.encode() for name in limits.event_types], pa.binary())
        other = ~np.asarray(pc.is_in(batch.column("event"), meant))
        found.mark("unknown-event-type", "event", other, str(sorted(limits.event_types)))
    for name in ("page_id", "query"):
        _text(batch, name, found)
    found.mark("impression-without-page", "page_id", _without_page(batch))
    if (position := batch.given("position")) is not None:
        found.mark("bad-position", "position", np.asarray(position.fill_null(0)) < 0)
    if (value := batch.given("value")) is not None:
        found.mark("bad-value", "value", ~np.isfinite(np.asarray(value.fill_null(0.0))))
    for name in ("user_id", "entity_id"):
        _missing_as_text(batch, name, found)


def _catalogue(batch: Batch, limits: Limits, found: Judgement) -> None:
    _names(batch, found)
    for name in ("title", *_TEXT_LISTS):
        _text(batch, name, found)
    if (price := batch.given("price")) is not None:
        numbers = np.asarray(price.fill_null(0.0))
        found.mark("bad-price", "price", ~np.isfinite(numbers) | (numbers < 0))
    _times(batch, "available_from", limits, found)
    for name in VECTORS:
        _vectors(batch, name, limits.vector_sizes.get(name), "vector-length", found)
    if (images := batch.given("image")) is not None:
        faults = image_faults(images)
        most = f"{MAX_IMAGE_BYTES:,} bytes or {MAX_IMAGE_PIXELS:,} pixels"
        found.mark("oversized-image", "image", faults == "large", most)
        found.mark("bad-image", "image", faults == "bad")
    for name in ("entity_id", "title"):
        _missing_as_text(batch, name, found)
    _items(batch, "attributes", "=", "attribute-form", found)
    _items(batch, "related_ids", "^[^:]+:.", "related-form", found)
    found.mark("type-in-id", "entity_id", type_in_id(batch))


def _users(batch: Batch, limits: Limits, found: Judgement) -> None:
    del limits  # users have nothing to keep to
    _id(batch, "user_id", found)
    _text(batch, "attributes", found)
    _missing_as_text(batch, "user_id", found)
    _items(batch, "attributes", "=", "attribute-form", found)


def _features(batch: Batch, limits: Limits, found: Judgement) -> None:
    _names(batch, found)
    _vectors(batch, "vector", limits.vector_sizes.get(batch.table), "declared-length", found)
    _text(batch, "tokens", found)
    _missing_as_text(batch, "entity_id", found)
    found.mark("type-in-id", "entity_id", type_in_id(batch))


def type_in_id(batch: Batch) -> np.ndarray:
    """Returns which ids repeat their entity type, as in `item:42` of type `item`, [n] bool."""
    ids, types = batch.column("entity_id"), batch.column("entity_type")
    divided = np.asarray(pc.match_substring(ids, ":").fill_null(False))
    if not divided.any():
        return divided
    first = pc.list_element(pc.split_pattern(ids.fill_null(b""), ":", max_splits=1), 0)
    return divided & np.asarray(pc.equal(first, types).fill_null(False))


def _names(batch: Batch, found: Judgement) -> None:
    for name in ("entity_type", "entity_id"):
        _id(batch, name, found)
    if batch.has("entity_type"):
        colons = pc.match_substring(batch.column("entity_type"), ":").fill_null(False)
        found.mark("colon-in-type", "entity_type", np.asarray(colons))


def _id(batch: Batch, name: str, found: Judgement) -> None:
    """Judges a column of names, of which every row needs one."""
    if not batch.has(name):
        return
    column = batch.column(name).fill_null(b"")
    found.mark("null-id", name, np.asarray(pc.equal(pc.binary_length(column), 0)))
    _text(batch, name, found)


def _text(batch: Batch, name: str, found: Judgement) -> None:
    if (column := batch.given(name)) is None:
        return
    if pa.types.is_list(column.type):
        values, offsets = as_ragged(column)
        found.mark("not-utf8", name, rows_of(invalid_utf8(values), offsets))
    else:
        found.mark("not-utf8", name, invalid_utf8(column))


def _times(batch: Batch, name: str, limits: Limits, found: Judgement) -> None:
    if not batch.has(name):
        return
    values, missing, unparsable = batch.times(name)
    if name == "timestamp":
        found.mark("null-time", name, missing)
    found.mark("unparsable-time", name, unparsable)
    latest = limits.latest if name == "timestamp" else limits.latest_available
    outside = ~(missing | unparsable) & ((values < limits.earliest) | (values >= latest))
    if outside.any():
        hint = _range_hint(limits, latest, values[outside])
        found.mark("time-out-of-range", name, outside, hint)


def _range_hint(limits: Limits, latest: int, outside: np.ndarray) -> str:
    """Says which times are acceptable, and what the others may be."""
    if limits.ordinal:
        return (
            f"below {limits.earliest:,}; the log says that they are an order, which starts there."
        )
    return (
        f"not from {date_of(limits.earliest)} to {date_of(latest)}; expected microseconds since "
        f"the epoch, UTC.{unit_hint(outside)} If they are an order and no times, say "
        '"time": "ordinal" in manifest.json.'
    )


def _without_page(batch: Batch) -> np.ndarray:
    """Returns which rows are impressions without a page, [n] bool."""
    shown = np.asarray(pc.equal(batch.column("event"), IMPRESSION.encode()).fill_null(False))
    if not shown.any():
        return shown
    empty = pc.equal(pc.binary_length(batch.column("page_id")), 0).fill_null(True)
    return shown & np.asarray(empty)


def _vectors(batch: Batch, name: str, size: int | None, kind: str, found: Judgement) -> None:
    """Judges a column of vectors; a wrong length is a finding of the given kind."""
    if (vectors := batch.given(name)) is None:
        return
    if size is not None:
        lengths = np.asarray(pc.list_value_length(vectors).fill_null(size))
        found.mark(kind, name, lengths != size, str(size))
    numbers = vectors.flatten().to_numpy(zero_copy_only=False)  # null is not a number
    found.mark("vector-number", name, rows_of(~np.isfinite(numbers), list_offsets(vectors)))


def _missing_as_text(batch: Batch, name: str, found: Judgement) -> None:
    if (column := batch.given(name)) is not None:
        found.mark("missing-as-text", name, np.asarray(pc.is_in(column, _MISSING_AS_TEXT)))


def _items(batch: Batch, name: str, form: str, kind: str, found: Judgement) -> None:
    """Judges lists of texts that have to match a regular expression."""
    if (lists := batch.given(name)) is None:
        return
    values, offsets = as_ragged(lists)
    formed = np.asarray(pc.match_substring_regex(values, form))
    found.mark(kind, name, rows_of(~formed, offsets))
