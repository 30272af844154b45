"""Puts candidates into a ScaNN index and takes others out, without training anything.

    python -m serving.index.updating.apply --index DIR --changes DIR --out DIR [--rebalance]

A new vector goes to its nearest leaf and gets its code from the codebooks that
are there: ScaNN's own `upsert` and `delete`. Rows stay where they are, new ones
are appended, and the last row fills the hole that a deleted one leaves; in an
index in parts that is so within each part. Like `serving.index.building.build` this needs
no TensorFlow of its own.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.index import files
from serving.index.building import curve
from serving.index.parts import part_dirs
from serving.index.processes import reporting_errors
from serving.index.tree.routing import PartChange
from serving.index.tree.routing import route
from serving.index.tree.scann_files import DATASET
from serving.index.tree.scann_files import holds
from serving.index.tree.scann_files import leaf_sizes
from serving.index.tree.scann_files import load_searcher
from serving.index.tree.scann_files import read_partition
from serving.index.tree.scann_files import serialise
from serving.index.updating.changes import Changes
from transforms.arrow import pa
from transforms.arrow import pq


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
        ValueError: No candidate would be left, or none in some part; or an index
            in parts is to be trained again.
        IndexIntegrityError: ScaNN holds other vectors than were written.
    """
    parts = _parts(index)
    if rebalance and len(parts) > 1:
        raise ValueError(
            f"The index is in {len(parts)} parts of one tree, and ScaNN would train another for "
            "each. Build it again instead."
        )
    rows = index.rows()
    upserted = [rows.get(name) for name in changes.upserts["id"].to_pylist()]
    deleted = [rows[name] for name in changes.deletes["id"].to_pylist()]
    routed = route([size for _, size in parts], upserted, deleted)
    _refuse_emptiness(routed)
    source = np.concatenate([change.source for change in routed])
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
    again = rebalance and index.info["index_type"] == files.TREE_AH
    start = 0
    for (folder, _), change in zip(parts, routed, strict=True):
        held = vectors[start : start + len(change.source)]
        own = target / files.SCANN / folder.relative_to(index.scann_dir)
        _change_part(folder, change, changes, own, again)
        if not holds(own, held):
            raise files.IndexIntegrityError(
                "ScaNN holds other vectors than the index after the update; nothing was pushed. "
                "Build the index again, and report the ScaNN release."
            )
        start += len(held)
    info = {**_info(index, changes, target, rebalance), **files.counts(candidates, vectors)}
    return files.write_info(target, info)


def _refuse_emptiness(routed: Sequence[PartChange]) -> None:
    empty = [part for part, change in enumerate(routed) if not len(change.source)]
    if len(empty) == len(routed):
        raise ValueError(
            "The update would take out every candidate, and an index of none answers nothing."
        )
    if empty:
        raise ValueError(
            f"The update would take out all candidates of the parts {empty}: build the index again."
        )


def _parts(index: files.IndexFiles) -> list[tuple[Path, int]]:
    """Returns the directory and the size of each part; of all there is, when there are none."""
    folders = part_dirs(index.scann_dir)
    sizes = [len(np.load(folder / DATASET, mmap_mode="r")) for folder in folders]
    return list(zip(folders, sizes, strict=True)) or [(index.scann_dir, index.size)]


def _change_part(
    folder: Path, change: PartChange, changes: Changes, target: Path, rebalance: bool
) -> None:
    searcher = load_searcher(folder)
    # ScaNN's wrapper wants docids, which it would pickle; what it wraps wants rows.
    if change.upserted:
        searcher.searcher.upsert(change.upserted, changes.vectors[change.numbers], 1)
    if change.deleted:
        searcher.searcher.delete(change.deleted)
    if rebalance:
        searcher.rebalance()
    serialise(searcher, target)


def _info(
    index: files.IndexFiles, changes: Changes, target: Path, rebalance: bool
) -> dict[str, Any]:
    kept = {name: index.info[name] for name in ("index_type", "build", "search", "towers")}
    before = index.info.get("updated", {})
    # What leaves and codes were trained on; after training again, everything.
    upserted, deleted = len(changes.upserts), len(changes.deletes)
    kept["updated"] = {
        "times": before.get("times", 0) + 1,
        "upserted": 0 if rebalance else before.get("upserted", 0) + upserted,
        "deleted": 0 if rebalance else before.get("deleted", 0) + deleted,
    }
    if kept["index_type"] != files.TREE_AH:
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
