"""The parts in which candidates and their vectors are written, and how they are joined."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.index import files
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import pq
from transforms.arrow import read_table

_NAMED = 20  # ids that a message names at most


def to_ipc(table: pa.Table) -> bytes:
    """Serialises a table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_ipc(data: bytes) -> pa.Table:
    """Reads what `to_ipc` wrote."""
    return pa.ipc.open_stream(data).read_all()


def write_shard(
    target: str, shard: int, shards: int, tables: Sequence[pa.Table], skipped: Mapping[str, int]
) -> str:
    """Sorts and writes the rows of one shard, and a report of what is wrong with them.

    The files are written under another name and renamed, so that a killed
    attempt leaves no half of one; a name of its own for each attempt, because
    Beam may start one while the last, of a worker that it lost, still writes.

    Args:
        target: Directory of the shards, anywhere that Beam can write.
        shard: Number of this shard.
        shards: Number of all shards.
        tables: The candidates' columns and `vector`, in any order of rows.
        skipped: Rows that are no candidates, by entity type.

    Returns:
        The name of the report.
    """
    from apache_beam.io.filesystems import FileSystems

    name = FileSystems.join(target, f"shard-{shard:05d}-of-{shards:05d}")
    report: dict[str, Any] = {"rows": 0, "skipped": dict(skipped)}
    if tables:
        table = pa.concat_tables(tables)
        table = table.take(pc.sort_indices(table["id"]))
        report.update(_examine(table))
        with _whole(name + ".parquet") as stream:
            pq.write_table(table, stream)
    with _whole(name + ".json") as stream:
        stream.write(json.dumps(report).encode())
    return name + ".json"


def collect(source: Path, target: Path, candidate_types: Sequence[str]) -> int:
    """Joins the shards in order into `candidates.parquet` and `vectors.npy`.

    Args:
        source: Directory of the shards.
        target: The index directory.
        candidate_types: What was asked for, for the message when nothing was found.

    Returns:
        N, the number of candidates.

    Raises:
        ValueError: There are no candidates, one comes twice, or a vector is
            not finite; with the ids.
    """
    reports = [json.loads(file.read_text()) for file in sorted(source.glob("*.json"))]
    _refuse(reports, candidate_types)
    rows = sum(report["rows"] for report in reports)
    dims = {report["dimension"] for report in reports if report["rows"]}
    if len(dims) != 1:
        raise ValueError(f"Candidates have vectors of different lengths: {sorted(dims)}.")
    target.mkdir(parents=True, exist_ok=True)
    vectors = np.lib.format.open_memmap(
        target / files.VECTORS, mode="w+", dtype=np.float32, shape=(rows, dims.pop())
    )
    written = 0
    with pq.ParquetWriter(target / files.CANDIDATES, files.CANDIDATES_SCHEMA) as writer:
        for table in _tables(source):
            flat = table["vector"].combine_chunks().flatten().to_numpy()
            vectors[written : written + len(table)] = flat.reshape(len(table), -1)
            writer.write_table(
                table.select(files.CANDIDATES_SCHEMA.names).cast(files.CANDIDATES_SCHEMA)
            )
            written += len(table)
    vectors.flush()
    if written != rows:
        raise ValueError(f"Shards hold {written} rows and their reports say {rows}: run again.")
    return rows


def _tables(source: Path) -> Iterator[pa.Table]:
    for file in sorted(source.glob("*.parquet")):
        yield read_table(file)


def _examine(table: pa.Table) -> dict[str, Any]:
    vectors = table["vector"].combine_chunks()
    flat = vectors.flatten().to_numpy().reshape(len(table), -1)
    broken = ~np.isfinite(flat).all(axis=1)
    ids = table["id"].combine_chunks()
    twice = pc.equal(ids[1:], ids[:-1]) if len(ids) > 1 else pa.array([], pa.bool_())
    return {
        "rows": len(table),
        "dimension": flat.shape[1],
        "broken": int(broken.sum()),
        "broken_ids": ids.filter(pa.array(broken))[:_NAMED].to_pylist(),
        "twice_ids": ids[1:].filter(twice)[:_NAMED].to_pylist(),
    }


def _refuse(reports: Sequence[Mapping[str, Any]], candidate_types: Sequence[str]) -> None:
    if not any(report["rows"] for report in reports):
        skipped = sorted({name for report in reports for name in report["skipped"]})
        raise ValueError(
            f"The catalogue has no candidates: candidate_types is {list(candidate_types)}, and "
            f"its rows are of the types {skipped}. Set `candidate_types` to some of these."
            if skipped
            else "The catalogue is empty: expected at least one candidate to recommend."
        )
    broken = [name for report in reports for name in report.get("broken_ids", ())]
    if broken:
        count = sum(report.get("broken", 0) for report in reports)
        raise ValueError(
            f"{count} candidates have embeddings that are not finite: {broken[:_NAMED]}. Look at "
            "these catalogue rows (prices, vectors) and at the training loss."
        )
    twice = [name for report in reports for name in report.get("twice_ids", ())]
    if twice:
        raise ValueError(
            f"Candidates come twice in the catalogue: {twice[:_NAMED]}. Give each one row."
        )


@contextlib.contextmanager
def _whole(name: str) -> Iterator[Any]:
    """Opens a file that gets its name, or takes the place of the one that has it, when closed."""
    from apache_beam.io.filesystems import FileSystems

    temporary = f"{name}.{uuid.uuid4().hex}.tmp"
    with FileSystems.create(temporary) as stream:
        yield stream
    FileSystems.rename([temporary], [name])
