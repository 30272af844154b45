"""Tables that have files of their own, such as a catalogue: the first row of each key counts."""

from __future__ import annotations

from abc import ABC
from abc import abstractmethod
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.dead_letter import label
from tfx_pipeline.datasets.first_rows import first_rows
from tfx_pipeline.datasets.importer.blocks import Block
from tfx_pipeline.datasets.importer.dead_letters import DeadLetters
from tfx_pipeline.datasets.importer.time_column import TimeColumn
from tfx_pipeline.datasets.importer.values import ids
from tfx_pipeline.datasets.importer.values import lists
from tfx_pipeline.datasets.importer.values import plain
from tfx_pipeline.datasets.importer.values import texts
from tfx_pipeline.datasets.judge import judge
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.rules import reason
from transforms.arrow import pa
from transforms.arrow import pc

Faults = dict[str, np.ndarray]


class KeyedRows(ABC):
    """Turns blocks of files into rows of a table with one row a key, in memory.

    Attributes:
        name: Name of the table.
        key: Its columns that together are the key.
    """

    name: str
    key: Sequence[str]

    def __init__(self, limits: Limits, letters: DeadLetters) -> None:
        """Takes what rows have to keep to, and what receives the others."""
        self._limits, self._letters = limits, letters
        self._pieces: list[pa.Table] = []

    @abstractmethod
    def sources(self) -> list[str]:
        """Returns the columns of the files, the last part of the key first."""

    @abstractmethod
    def convert(
        self, rows: pa.Table, file: str, times: TimeColumn | None
    ) -> tuple[pa.Table, Faults]:
        """Turns rows into those of the table's schema, without judging them.

        Args:
            rows: Rows with the columns that `sources` names.
            file: Name of the file.
            times: How a column of times is read.

        Returns:
            The rows, and by reason which of them [n] bool cannot be used besides.
        """

    def add(self, block: Block, file: str, times: TimeColumn | None = None) -> None:
        """Takes rows of a file; see `convert`."""
        self._letters.rows[self.name] += block.rows.num_rows
        rows, faults = self.convert(block.rows, file, times)
        judged = judge(Batch(self.name, rows.to_batches()[0]), self._limits)
        bad, reasons = judged.rejected, judged.reasons()
        for number, row in enumerate(bad):
            reasons[number] = next((r for r, mask in faults.items() if mask[row]), reasons[number])
        at = pa.array(bad)
        held = {name: rows.column(name).take(at) for name in rows.column_names}
        held[self.key[-1]] = block.rows.column(self.sources()[0]).take(at)  # as it stands
        self._letters.add(self.name, file, held, block.numbers[bad], reasons)
        kept = pa.array(np.flatnonzero(judged.good))
        where = label({}, self.name, [""] * len(rows), [file] * len(rows), block.numbers)
        for name in ("file", "row"):
            rows = rows.append_column(name, where.column(name))
        self._pieces.append(rows.take(kept))

    def rows(self) -> pa.Table:
        """Returns the first row of each key; further ones become dead letters.

        Raises:
            ValueError: There is no row.
        """
        if not self._pieces:
            raise ValueError(f"The files of the {self.name} have no rows. Leave them out.")
        rows = pa.concat_tables(self._pieces)
        first = np.zeros(rows.num_rows, bool)
        first[first_rows(joined_names(rows, self.key))] = True
        repeated = rows.filter(pa.array(~first))
        why = reason("duplicate-row", "", self.name)
        for file in pc.unique(repeated.column("file")).to_pylist():
            of_file = repeated.filter(pc.equal(repeated.column("file"), file))
            held = {n: of_file.column(n) for n in rows.column_names if n not in ("file", "row")}
            numbers = of_file.column("row").to_numpy()
            self._letters.add(self.name, file, held, numbers, [why] * of_file.num_rows)
        return rows.filter(pa.array(first)).drop(["file", "row"])

    def _text(self, column: pa.Array, where: str, name: str) -> pa.Array:
        """Returns texts, or a list of texts as it is."""
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            if pa.types.is_nested(column.type.value_type):
                raise ValueError(f"{where} is of the type {column.type}; expected lists of texts.")
            return column
        if pa.types.is_floating(column.type) and _is_whole(column):
            column, _ = ids(column, where)
        found, bad = texts(column, where)
        self._repair(f"{name} is not UTF-8", bad, column)
        return found

    def _kept(self, values: pa.Array, fits: np.ndarray, why: str, raw: pa.Array) -> pa.Array:
        """Returns values that fit, and null for others: an item is not lost for its price."""
        self._repair(why, ~fits, raw)
        return pc.if_else(pa.array(fits), values, pa.scalar(None, values.type))

    def _repair(self, why: str, bad: np.ndarray, column: pa.Array) -> None:
        self._letters.repair(self.name, why, bad, column)


def attributes(columns: Mapping[str, pa.Array]) -> pa.Array:
    """Returns the values of each row as `key=value`, [n] list of string; lists stay as they are.

    Args:
        columns: Texts or lists of texts [n] by key.
    """
    return lists(
        [
            pc.binary_join_element_wise(f"{key}=", column, "")
            if pa.types.is_string(column.type)
            else column
            for key, column in columns.items()
        ]
    )


def joined_names(rows: pa.Table, key: Sequence[str]) -> pa.Array:
    """Returns the columns of a key joined by colons, [n] string."""
    parts = [plain(rows.column(name)).cast(pa.string()) for name in key]
    return pc.binary_join_element_wise(*parts, ":")


def _is_whole(column: pa.Array) -> bool:
    values = np.asarray(column.fill_null(0.0))
    return bool((values == np.rint(values)).all())
