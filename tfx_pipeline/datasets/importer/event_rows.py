"""Rows of files turned into rows of the events table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.importer.blocks import Block
from tfx_pipeline.datasets.importer.dead_letters import DeadLetters
from tfx_pipeline.datasets.importer.time_column import TimeColumn
from tfx_pipeline.datasets.importer.values import ids
from tfx_pipeline.datasets.importer.values import numbers
from tfx_pipeline.datasets.importer.values import only
from tfx_pipeline.datasets.importer.values import plain
from tfx_pipeline.datasets.importer.values import texts
from tfx_pipeline.datasets.judge import judge
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.rules import reason
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.sequences import SECOND
from tfx_pipeline.datasets.sequences import constant
from transforms.arrow import pa
from transforms.arrow import pc

_MOST_POSITION = 2**31 - 1


@dataclass(frozen=True)
class EventColumns:
    """Columns of files by what they are in the events table.

    Attributes:
        user: Column of `user_id`.
        item: Column of `entity_id`.
        time: Column of `timestamp`; None where the order of the rows says what came first.
        event: Column of `event`.
        event_type: Event of every row where `event` is None.
        item_type_column: Column of `entity_type`.
        item_type: Entity type of every row where `item_type_column` is None.
        session: Column of `session_id`.
        page: Column of `page_id`.
        position: Column of `position`.
        first_position: Number of the first position of a page; the log's is 0.
        query: Column of `query`.
        value: Column of `value`.
        decimal_comma: Whether numbers are written with a decimal comma.
    """

    user: str
    item: str
    time: str | None
    event: str | None = None
    event_type: str = "interaction"
    item_type_column: str | None = None
    item_type: str = "item"
    session: str | None = None
    page: str | None = None
    position: str | None = None
    first_position: int = 0
    query: str | None = None
    value: str | None = None
    decimal_comma: bool = False

    def sources(self) -> dict[str, str]:
        """Returns columns of the log by the columns of the files that they come from."""
        named = {
            "user_id": self.user,
            "entity_type": self.item_type_column,
            "entity_id": self.item,
            "event": self.event,
            "timestamp": self.time,
            "session_id": self.session,
            "page_id": self.page,
            "position": self.position,
            "query": self.query,
            "value": self.value,
        }
        return {name: column for name, column in named.items() if column is not None}


class EventRows:
    """Turns blocks of one file into events; what cannot be used becomes dead letters."""

    def __init__(
        self,
        columns: EventColumns,
        file: str,
        times: TimeColumn | None,
        limits: Limits,
        letters: DeadLetters,
    ) -> None:
        """Takes what every block has in common.

        Args:
            columns: The file's columns.
            file: Its name, for messages.
            times: Its column of times; None for an order.
            limits: What events have to keep to.
            letters: Receives the rows that cannot be used.
        """
        self._columns, self._file, self._times = columns, file, times
        self._limits, self._letters = limits, letters

    def convert(self, block: Block, first: int) -> tuple[pa.Table, np.ndarray]:
        """Turns a block into events.

        Args:
            block: Rows with the columns that `EventColumns.sources` names.
            first: Rows before it in all files: where its order goes on.

        Returns:
            The events that can be used, and their places among the block's rows, [n] int64.
        """
        n = block.rows.num_rows
        raw = {
            name: plain(block.rows.column(column))
            for name, column in self._columns.sources().items()
        }
        self._letters.rows[EVENTS_TABLE] += n
        made: dict[str, pa.Array] = {
            "entity_type": constant(self._columns.item_type, n),
            "event": constant(self._columns.event_type, n),
            "ordinal": pa.array(np.arange(first, first + n)),
        }
        faults: dict[str, np.ndarray] = {}
        for name in ("user_id", "entity_type", "entity_id", "event"):
            if name in raw:
                made[name], faults[f"{name} is not a whole number"] = ids(
                    raw[name], self._where(name)
                )
        if self._times is None:
            made["timestamp"] = pc.multiply(made["ordinal"], SECOND)
        else:
            made["timestamp"], unparsable = self._times.read(raw["timestamp"])
            for kind, mask in self._times.others(raw["timestamp"], made["timestamp"]).items():
                faults[f"timestamp is of another kind ({kind})"] = mask
            faults[reason("unparsable-time", "timestamp", EVENTS_TABLE)] = unparsable
        self._add_optional(raw, made)
        batch = pa.RecordBatch.from_arrays(list(made.values()), list(made))
        judged = judge(Batch(EVENTS_TABLE, batch), self._limits)
        reasons = judged.reasons()
        for place, row in enumerate(judged.rejected):
            reasons[place] = next((r for r, bad in faults.items() if bad[row]), reasons[place])
        bad = judged.rejected
        taken = {
            name: pa.chunked_array([column.take(pa.array(bad))]) for name, column in raw.items()
        }
        self._letters.add(EVENTS_TABLE, self._file, taken, block.numbers[bad], reasons)
        good = np.flatnonzero(judged.good)
        return pa.Table.from_batches([batch]).take(pa.array(good)), good

    def _add_optional(self, raw: Mapping[str, pa.Array], made: dict[str, pa.Array]) -> None:
        """Adds the columns that may be null; what does not fit them is dropped and counted."""
        for name in ("session_id", "page_id", "query"):
            if name in raw and name != "query":
                made[name], _ = ids(raw[name], self._where(name))
            if name in raw:
                made[name], bad = texts(made.get(name, raw[name]), self._where(name))
                self._repair(f"{name} is not UTF-8", bad, raw[name])
        if "value" in raw:
            found, bad = numbers(raw["value"], self._where("value"), self._columns.decimal_comma)
            self._repair("value is not a number", bad, raw["value"])
            found = found.cast(pa.float32(), safe=False)
            finite = np.isfinite(np.asarray(found.fill_null(0.0)))
            self._repair("value is not finite", ~finite, raw["value"])
            made["value"] = only(found, finite)
        if "position" in raw:
            found, bad = numbers(raw["position"], self._where("position"))
            values = np.asarray(found.fill_null(0.0)) - self._columns.first_position
            fits = (values == np.rint(values)) & (values >= 0) & (values <= _MOST_POSITION)
            why = "position is not a whole number from 0"
            self._repair(why, bad | ~fits, raw["position"])
            whole = np.where(fits, values, 0).astype(np.int32)
            made["position"] = pa.array(whole, mask=~fits | np.asarray(found.is_null()))

    def _repair(self, why: str, bad: np.ndarray, column: pa.Array) -> None:
        self._letters.repair(EVENTS_TABLE, why, bad, column)

    def _where(self, name: str) -> str:
        return f"`{self._columns.sources()[name]}` of `{self._file}`"
