"""Changes of an update: candidates to put into an index, and ids to take out of it.

    upserts  id, entity_type, title, available_from as in `candidates.parquet`,
             vector (list of float32), and file and row, where it was read
    deletes  id, file, row

Neither TensorFlow nor ScaNN is needed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.index import files
from serving.index.config import EVERY
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import pq
from transforms.arrow import read_table

_WHERE = [pa.field("file", pa.string()), pa.field("row", pa.int64())]
UPSERTS_SCHEMA = pa.schema(
    [*files.CANDIDATES_SCHEMA, pa.field("vector", pa.list_(pa.float32())), *_WHERE]
)
DELETES_SCHEMA = pa.schema([pa.field("id", pa.string()), *_WHERE])
REFUSED_SCHEMA = pa.schema(
    [
        pa.field("change", pa.string()),  # upsert or delete
        pa.field("file", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("id", pa.string()),
        pa.field("reason", pa.string()),
    ]
)
_UPSERTS, _DELETES = "upserts.parquet", "deletes.parquet"


@dataclass(frozen=True)
class Changes:
    """An update.

    Attributes:
        upserts: Of `UPSERTS_SCHEMA`.
        deletes: Of `DELETES_SCHEMA`.
    """

    upserts: pa.Table
    deletes: pa.Table

    @property
    def vectors(self) -> np.ndarray:
        """[U, d] float32, the vectors of the upserts; they have to be of one length."""
        flat = self.upserts["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return np.ascontiguousarray(flat.reshape(len(self.upserts), -1), np.float32)

    def write(self, path: Path) -> None:
        """Writes the changes into the directory `path`, for another process."""
        path.mkdir(parents=True, exist_ok=True)
        pq.write_table(self.upserts, path / _UPSERTS)
        pq.write_table(self.deletes, path / _DELETES)

    @classmethod
    def read(cls, path: Path) -> Changes:
        """Reads what `write` wrote."""
        return cls(read_table(path / _UPSERTS), read_table(path / _DELETES))


def sift(
    changes: Changes, index: files.IndexFiles, candidate_types: Sequence[str] = (EVERY,)
) -> tuple[Changes, pa.Table]:
    """Takes out what cannot be applied to an index.

    Args:
        changes: As they were read.
        index: What they are for.
        candidate_types: Entity types that are candidates; ["*"] is every type.

    Returns:
        What can be applied, and the others as a table of `REFUSED_SCHEMA`.
    """
    upserted, deleted = changes.upserts["id"], changes.deletes["id"]
    known = index.candidates["id"]
    both = "is to be put in and to be taken out"
    against: list[tuple[np.ndarray, str]] = [
        (_is_in(upserted, deleted), both),
        *_against_vectors(changes.upserts, index.vectors.shape[1]),
    ]
    if EVERY not in candidate_types:
        other = ~_is_in(changes.upserts["entity_type"], pa.array(candidate_types, pa.string()))
        against.append((other, f"is of no candidate type ({', '.join(candidate_types)})"))
    usable = ~np.any([bad for bad, _ in against], axis=0)
    against.append((_seen_before(upserted, usable), "comes twice; the first one counts"))
    kept, bad = _split(changes.upserts, "upsert", against)
    left, gone = _split(
        changes.deletes,
        "delete",
        [
            (~_is_in(deleted, known), "is not in the index, whose ids are `type:id`"),
            (_is_in(deleted, upserted), both),
            (_seen_before(deleted), "comes twice; the first one counts"),
        ],
    )
    return Changes(kept, left), pa.concat_tables([bad, gone])


def refused(change: str, rows: pa.Table, reasons: Sequence[str]) -> pa.Table:
    """Returns rows with `id`, `file` and `row` as a table of `REFUSED_SCHEMA`."""
    columns = {name: rows[name] for name in ("file", "row", "id")}
    table = pa.table({"change": [change] * len(rows), **columns, "reason": list(reasons)})
    return table.select(REFUSED_SCHEMA.names).cast(REFUSED_SCHEMA)


def _against_vectors(upserts: pa.Table, dim: int) -> list[tuple[np.ndarray, str]]:
    vectors = upserts["vector"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(vectors), 0).to_numpy(zero_copy_only=False)
    parent = pc.list_parent_indices(vectors).to_numpy(zero_copy_only=False)
    values = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    broken = np.zeros(len(upserts), bool)
    broken[parent[~np.isfinite(values)]] = True
    return [
        (lengths != dim, f"has a vector of another length than the index ({dim})"),
        (broken, "has a vector that is not finite"),
    ]


def _split(
    rows: pa.Table, change: str, against: Sequence[tuple[np.ndarray, str]]
) -> tuple[pa.Table, pa.Table]:
    reasons = np.full(len(rows), "", object)
    for bad, reason in against:
        reasons[bad & (reasons == "")] = reason
    good = reasons == ""
    other = rows.filter(pa.array(~good))
    return rows.filter(pa.array(good)), refused(change, other, reasons[~good].tolist())


def _is_in(values: pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> np.ndarray:
    if isinstance(among, pa.ChunkedArray):
        among = among.combine_chunks()
    return np.asarray(pc.is_in(values, value_set=among).combine_chunks(), bool)


def _seen_before(ids: pa.ChunkedArray, usable: np.ndarray | None = None) -> np.ndarray:
    """Says of each id whether it came before, in a usable row."""
    seen: set[str] = set()
    again = np.zeros(len(ids), bool)
    for row, name in enumerate(ids.to_pylist()):
        again[row] = name in seen
        if usable is None or usable[row]:
            seen.add(name)
    return again
