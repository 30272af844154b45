"""Puts candidates into a ScaNN index and takes others out, without training anything.

    python -m serving.index.apply --index DIR --changes DIR --out DIR [--rebalance]

A new vector goes to its nearest leaf and gets its code from the codebooks that
are there: ScaNN's own `upsert` and `delete`. Rows stay where they are, new ones
are appended, and the last row fills the hole that a deleted one leaves. Like
`serving.index.build` this needs no TensorFlow of its own.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serving.index import curve
from serving.index import files
from serving.index.changes import Changes
from serving.index.parts import part_dirs
from serving.index.processes import reporting_errors
from serving.index.scann_files import DATASET
from serving.index.scann_files import leaf_sizes
from serving.index.scann_files import load_searcher
from serving.index.scann_files import read_partition
from serving.index.scann_files import serialise


def apply(
    index: files.IndexFiles, changes: Changes, target: Path, rebalance: bool = False
) -> dict[str, Any]:
    """Writes an index with some candidates more, others less, and others changed.

    Args:
        index: An opened index.
        changes: What `changes.sift` let through.
        target: The directory to write.
        rebalance: Whether ScaNN trains leaves and codes again over what there
            is then, which takes as long as a build.

    Returns:
        The content of the new `index.json`.

    Raises:
        ValueError: No candidate would be left, or the index is in parts.
        IndexIntegrityError: ScaNN holds other vectors than were written.
    """
    if parts := part_dirs(index.scann_dir):
        raise ValueError(
            f"The index is in {len(parts)} parts, and an update changes an index of one: build it "
            "again with the changed catalogue, or with `parts: 1`."
        )
    rows = {name: row for row, name in enumerate(index.candidates["id"].to_pylist())}
    upserted = [rows.get(name) for name in changes.upserts["id"].to_pylist()]
    deleted = sorted((rows[name] for name in changes.deletes["id"].to_pylist()), reverse=True)
    source = sources(index.size, upserted, deleted)
    if not len(source):
        raise ValueError(
            "The update would take out every candidate, and an index of none answers nothing."
        )
    vectors = np.asarray(index.vectors)
    if upserted:
        vectors = np.concatenate([vectors, changes.vectors])
    vectors = np.ascontiguousarray(vectors[source])
    new = changes.upserts.select(files.CANDIDATES_SCHEMA.names).cast(files.CANDIDATES_SCHEMA)
    candidates = pa.concat_tables([index.candidates, new]).take(pa.array(source))
    target.mkdir(parents=True, exist_ok=True)
    pq.write_table(candidates.combine_chunks(), target / files.CANDIDATES)
    np.save(target / files.VECTORS, vectors)
    files.check_rows(target, candidates, vectors)
    _change_scann(index, changes, upserted, deleted, target / files.SCANN, rebalance)
    if not np.array_equal(np.load(target / files.SCANN / DATASET, mmap_mode="r"), vectors):
        raise files.IndexIntegrityError(
            "ScaNN holds other vectors than the index after the update; nothing was pushed. "
            "Build the index again, and report the ScaNN release."
        )
    info = {**_info(index, changes, target, rebalance), **files.counts(candidates, vectors)}
    return files.write_info(target, info)


def sources(size: int, upserted: Sequence[int | None], deleted: Sequence[int]) -> np.ndarray:
    """Says where the rows of an updated index come from.

    Args:
        size: N, rows before.
        upserted: [U], the row that each upsert replaces, None where it is new.
        deleted: Rows that go, the last one first; none is replaced.

    Returns:
        [N'] int64, below N a row of before, from N on an upsert.
    """
    source = list(range(size))
    for number, row in enumerate(upserted):
        if row is None:
            source.append(size + number)
        else:
            source[row] = size + number
    for row in deleted:
        source[row] = source[-1]
        source.pop()
    return np.array(source, np.int64)


def _change_scann(
    index: files.IndexFiles,
    changes: Changes,
    upserted: Sequence[int | None],
    deleted: Sequence[int],
    target: Path,
    rebalance: bool,
) -> None:
    searcher = load_searcher(index.scann_dir)
    # ScaNN's wrapper wants docids, which it would pickle; what it wraps wants rows.
    if upserted:
        searcher.searcher.upsert(list(upserted), changes.vectors, 1)
    if deleted:
        searcher.searcher.delete(list(deleted))
    if rebalance and index.info["form"] == files.TREE_AH:
        searcher.rebalance()
    serialise(searcher, target)


def _info(
    index: files.IndexFiles, changes: Changes, target: Path, rebalance: bool
) -> dict[str, Any]:
    kept = {name: index.info[name] for name in ("form", "build", "search", "towers")}
    before = index.info.get("updated", {})
    # What leaves and codes were trained on; after training again, everything.
    upserted, deleted = len(changes.upserts), len(changes.deletes)
    kept["updated"] = {
        "times": before.get("times", 0) + 1,
        "upserted": 0 if rebalance else before.get("upserted", 0) + upserted,
        "deleted": 0 if rebalance else before.get("deleted", 0) + deleted,
    }
    if kept["form"] != files.TREE_AH:
        return kept
    kept["build"] = {
        **kept["build"],
        "leaf_sizes": leaf_sizes(read_partition(target / files.SCANN)),
    }
    if rebalance:  # the curve was of other leaves
        kept["search"] = {**kept["search"], "tuned_on": 0, "curve": []}
        return kept
    for name in (curve.TABLE, curve.PLOT):
        if (index.path / name).is_file():
            shutil.copyfile(index.path / name, target / name)
    return kept


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, required=True, help="the index directory")
    parser.add_argument("--changes", type=Path, required=True, help="what `Changes.write` wrote")
    parser.add_argument("--out", type=Path, required=True, help="the directory to write")
    parser.add_argument("--rebalance", action="store_true", help="train leaves and codes again")
    args = parser.parse_args(argv)
    with reporting_errors():
        # Hashes were checked by whoever called; reading everything twice helps nobody.
        index = files.open_index(args.index, check_hashes=False)
        apply(index, Changes.read(args.changes), args.out, args.rebalance)


if __name__ == "__main__":
    main()
