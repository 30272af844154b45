"""The directory of neighbour lists: what it holds, how it is written, read and checked.

    neighbours.arrow  Arrow IPC file, one row an entity of the training events, sorted:
                      entity     string, `type:id`
                      neighbour  list<int32>, rows of this table, best first
                      weight     list<float16>, as long as `neighbour`, > 0, not ascending
                      events     int64, its counted training events
    neighbours.json   settings, counts, and the SHA-256 of the table

Neither TensorFlow nor Beam is needed to read it, and nothing in it is pickle.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serving.index.files import sha256
from transforms.arrow import pa
from transforms.arrow import pc

FORMAT_VERSION = 1
TABLE = "neighbours.arrow"
INFO = "neighbours.json"
SCHEMA = pa.schema(
    [
        pa.field("entity", pa.string(), nullable=False),
        pa.field("neighbour", pa.list_(pa.int32()), nullable=False),
        pa.field("weight", pa.list_(pa.float16()), nullable=False),
        pa.field("events", pa.int64(), nullable=False),
    ]
)


class NeighboursIntegrityError(ValueError):
    """A directory of neighbour lists is not what its `neighbours.json` says."""


@dataclass(frozen=True)
class Neighbours:
    """Neighbour lists of N entities, V neighbours in all.

    Attributes:
        entity: [N] string array, `type:id`, sorted.
        offsets: [N + 1] int64; the neighbours of row i are at `offsets[i]:offsets[i + 1]`.
        neighbour: [V] int32, rows, the best of each entity first.
        weight: [V] float16, > 0.
        events: [N] int64, counted training events of each entity.
        info: The content of `neighbours.json`: `settings`, `counts` and `sha256`.
    """

    entity: pa.Array
    offsets: np.ndarray
    neighbour: np.ndarray
    weight: np.ndarray
    events: np.ndarray
    info: Mapping[str, Any]

    @classmethod
    def read(cls, directory: str | Path) -> Neighbours:
        """Reads neighbour lists and checks them.

        Args:
            directory: What `write_tables` wrote.

        Raises:
            FileNotFoundError: There are no neighbour lists.
            NeighboursIntegrityError: The table was altered, has other columns, or its rows,
                neighbours or weights do not fit together.
        """
        directory = Path(directory)
        for name in (INFO, TABLE):
            if not (directory / name).is_file():
                raise FileNotFoundError(
                    f"`{directory}` holds no `{name}`: it is no directory of neighbour lists, or "
                    "the count did not finish. Run NeighbourBuilder again."
                )
        info = _read_info(directory)
        if sha256(directory / TABLE) != info.get("sha256"):
            raise _damaged(directory, "was altered or cut short since it was written")
        try:
            with pa.memory_map(str(directory / TABLE)) as source:
                table = pa.ipc.open_file(source).read_all()
        except pa.ArrowInvalid as error:
            raise _damaged(directory, f"is no Arrow IPC file: {error}") from error
        if not table.schema.equals(SCHEMA):
            columns = table.schema.to_string()
            raise _damaged(directory, f"has the columns\n{columns}\nand not\n{SCHEMA.to_string()}")
        neighbours = _of_table(directory, table, info)
        _check(directory, neighbours)
        return neighbours

    @property
    def size(self) -> int:
        """N, the number of entities."""
        return len(self.events)

    def rows(self, names: pa.Array) -> np.ndarray:
        """Returns [n] int64, the row of each of [n] entities, -1 for one that is not there."""
        found = pc.index_in(names.cast(pa.string()), value_set=self.entity)
        return np.asarray(pc.fill_null(found, -1)).astype(np.int64)

    def of(self, entity: str) -> dict[str, float]:
        """Returns the weights of one entity's neighbours by name, best first."""
        (row,) = self.rows(pa.array([entity]))
        if row < 0:
            return {}
        part = slice(self.offsets[row], self.offsets[row + 1])
        names = self.entity.take(pa.array(self.neighbour[part])).to_pylist()
        return dict(zip(names, self.weight[part].tolist(), strict=True))

    def write(self, directory: str | Path) -> None:
        """Writes the directory, which `read` reads."""
        if self.offsets[-1] > np.iinfo(np.int32).max:
            raise ValueError("Write more than 2**31 neighbours in several tables, `write_tables`.")
        table = make_table(self.entity, self.offsets, self.neighbour, self.weight, self.events)
        write_tables(directory, [table], self.info.get("settings", {}), self.info.get("counts", {}))


def make_table(
    entity: pa.Array,
    offsets: np.ndarray,
    neighbour: np.ndarray,
    weight: np.ndarray,
    events: np.ndarray,
) -> pa.Table:
    """Makes a table of rows of the file; the arguments are as `Neighbours` has them."""
    edges = pa.array(offsets.astype(np.int32))
    columns = [
        entity.cast(pa.string()),
        pa.ListArray.from_arrays(edges, pa.array(neighbour.astype(np.int32))),
        pa.ListArray.from_arrays(edges, pa.array(weight.astype(np.float16))),
        pa.array(events.astype(np.int64)),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def write_tables(
    directory: str | Path,
    tables: Iterable[pa.Table],
    settings: Mapping[str, Any],
    counts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes tables one after the other as one file, and seals it.

    Args:
        directory: It is made.
        tables: Rows in the order of the file, with the columns of `SCHEMA`.
        settings: What the lists were counted with.
        counts: Counts to note besides those of the table.

    Returns:
        The content of `neighbours.json`.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    found = {"entities": 0, "entities_with_neighbours": 0, "neighbours": 0, "events": 0}
    with pa.OSFile(str(directory / TABLE), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for table in tables:
            writer.write_table(table)
            lengths = pc.list_value_length(table["neighbour"])
            found["entities"] += table.num_rows
            found["entities_with_neighbours"] += pc.sum(pc.greater(lengths, 0)).as_py() or 0
            found["neighbours"] += pc.sum(lengths).as_py() or 0
            found["events"] += pc.sum(table["events"]).as_py() or 0
    info = {
        "format_version": FORMAT_VERSION,
        "settings": dict(settings),
        "counts": {**(counts or {}), **found},
        "sha256": sha256(directory / TABLE),
    }
    text = json.dumps(info, indent=1, sort_keys=True) + "\n"
    (directory / INFO).write_text(text, encoding="utf-8")
    return info


def _read_info(directory: Path) -> dict[str, Any]:
    try:
        info = json.loads((directory / INFO).read_text(encoding="utf-8"))
    except ValueError as error:
        raise NeighboursIntegrityError(f"`{directory / INFO}` is no JSON: {error}") from error
    version = info.get("format_version") if isinstance(info, dict) else None
    if version != FORMAT_VERSION:
        raise NeighboursIntegrityError(
            f"`{directory / INFO}` has format version {version}, and this code reads "
            f"{FORMAT_VERSION}. Run NeighbourBuilder again."
        )
    found: dict[str, Any] = info
    return found


def _of_table(directory: Path, table: pa.Table, info: Mapping[str, Any]) -> Neighbours:
    """Returns the columns of a table of any number of parts, flat."""
    lengths = np.asarray(pc.list_value_length(table["neighbour"])).astype(np.int64)
    if not np.array_equal(lengths, np.asarray(pc.list_value_length(table["weight"]))):
        raise _damaged(directory, "has rows with other numbers of weights than of neighbours")
    return Neighbours(
        entity=table["entity"].combine_chunks(),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        neighbour=_flat(table["neighbour"], np.int32),
        weight=_flat(table["weight"], np.float16),
        events=table["events"].to_numpy(),
        info=info,
    )


def _flat(column: pa.ChunkedArray, dtype: type[np.generic]) -> np.ndarray:
    parts = [np.asarray(chunk.flatten()) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _check(directory: Path, found: Neighbours) -> None:
    """Checks the values of the columns."""
    counted = found.info.get("counts", {})
    for name, number in (("entities", found.size), ("neighbours", len(found.neighbour))):
        if counted.get(name) != number:
            raise _damaged(directory, f"has {number} {name}, and `{INFO}` says {counted.get(name)}")
    names = found.entity
    if found.size > 1 and not pc.all(pc.less(names[:-1], names[1:])).as_py():
        raise _damaged(directory, "has entities that are not sorted, or come twice")
    rows, weight = found.neighbour, found.weight
    if len(rows) and (rows.min() < 0 or rows.max() >= found.size):
        raise _damaged(directory, f"has neighbours that are no rows of its {found.size}")
    if not (np.isfinite(weight) & (weight > 0)).all():
        raise _damaged(directory, "has weights that are not positive numbers")
    rising = np.flatnonzero(weight[1:] > weight[:-1]) + 1  # allowed where a list begins
    if not np.isin(rising, found.offsets).all():
        raise _damaged(directory, "has lists whose best neighbour does not come first")


def _damaged(directory: Path, what: str) -> NeighboursIntegrityError:
    return NeighboursIntegrityError(f"`{directory / TABLE}` {what}. Run NeighbourBuilder again.")
