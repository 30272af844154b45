"""ScaNN's serialised searcher: read as open data, moved, and loaded again.

`read_partition` needs neither ScaNN nor TensorFlow; `load_searcher` imports
ScaNN, which brings a TensorFlow of its own, so it is called in processes that
do not use TensorFlow (`serving.index.building.build`, `serving.index.checking.check`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serving.index.files import IndexIntegrityError
from serving.index.parts import part_dirs
from serving.index.tree.merged import MergedSearcher
from serving.pickles import refuse_pickles

ASSETS = "scann_assets.pbtxt"
CONFIG = "scann_config.pb"
PARTITIONER = "serialized_partitioner.pb"
TOKENS = "datapoint_to_token.npy"
DATASET = "dataset.npy"
CODES = "hashed_dataset.npy"
CODEBOOK = "ah_codebook.pb"
_BLOCK = 65_536  # rows compared at a time
_ASSET_PATH = re.compile(r'asset_path:\s*"([^"\n]*)"')


@dataclass(frozen=True)
class Partition:
    """Partition of the candidates by ScaNN's tree.

    Attributes:
        centres: [L, d] float32, the centre of each leaf.
        leaf: [N] int32, the leaf of each candidate.
    """

    centres: np.ndarray
    leaf: np.ndarray


def serialise(searcher: Any, path: Path) -> None:
    """Writes a searcher built without docids, in a form that may be moved.

    Raises:
        ValueError: The searcher has docids, which ScaNN would pickle.
    """
    if searcher.docids is not None:
        raise ValueError(
            "This searcher has docids, and ScaNN pickles them. Build it without; a candidate's "
            "id is in the row of the candidates table that has its index."
        )
    path.mkdir(parents=True, exist_ok=True)
    searcher.serialize(str(path))
    assets = path / ASSETS
    relative = _ASSET_PATH.sub(
        lambda match: f'asset_path: "{Path(match[1]).name}"', assets.read_text(encoding="utf-8")
    )
    assets.write_text(relative, encoding="utf-8")
    refuse_pickles(path)


def load_searcher(path: Path) -> Any:
    """Loads a serialised searcher, or all its parts, from wherever its directory is now.

    Returns:
        A `scann_ops_pybind.ScannSearcher` whose neighbours are row numbers, or
        a `MergedSearcher` of the parts.
    """
    refuse_pickles(path)
    path = path.absolute()  # ScaNN 1.4 takes relative paths of assets for relative to the index
    parts = part_dirs(path)
    return MergedSearcher([_load(part) for part in parts]) if parts else _load(path)


def _load(path: Path) -> Any:
    assets = path / ASSETS
    if not assets.is_file():
        raise FileNotFoundError(f"`{path}` holds no `{ASSETS}`: it is no ScaNN searcher.")
    from scann.scann_ops.py import scann_ops_pybind

    text = _ASSET_PATH.sub(
        lambda match: f'asset_path: "{path / Path(match[1]).name}"',
        assets.read_text(encoding="utf-8"),
    )
    native = scann_ops_pybind.scann_pybind.ScannNumpy(str(path), text)
    return scann_ops_pybind.ScannSearcher(native)


def read_partition(path: Path) -> Partition:
    """Reads the tree of a serialised searcher, or the one tree of all its parts.

    The partitioner's message is not among ScaNN's published ones. On the wire,
    field 2.1.1 is the root of its k-means tree, and the root's repeated field
    1 the centres, each with its values packed as float64 in field 1.

    Raises:
        FileNotFoundError: The searcher has no tree.
        IndexIntegrityError: The files are not as described, or parts have
            different trees.
    """
    parts = part_dirs(path)
    if not parts:
        return _read_tree(path)
    trees = [_read_tree(part) for part in parts]
    for part, tree in zip(parts, trees, strict=True):
        if not np.array_equal(tree.centres, trees[0].centres):
            raise IndexIntegrityError(
                f"`{part}` has other centres than `{parts[0]}`: they were not trained together. "
                "Build the index again."
            )
    return Partition(trees[0].centres, np.concatenate([tree.leaf for tree in trees]))


def _read_tree(path: Path) -> Partition:
    for name in (PARTITIONER, TOKENS):
        if not (path / name).is_file():
            raise FileNotFoundError(f"`{path}` holds no `{name}`: this index has no tree.")
    data = (path / PARTITIONER).read_bytes()
    try:
        centres = _centres(data)
        leaf = np.load(path / TOKENS, allow_pickle=False)
    except (ValueError, IndexError) as error:
        raise IndexIntegrityError(
            f"`{path}` holds a tree that cannot be read ({error}): written by a version of ScaNN "
            "that is not supported, or damaged. Build the index again."
        ) from error
    if leaf.ndim != 1 or not len(leaf) or leaf.min() < 0 or leaf.max() >= len(centres):
        raise IndexIntegrityError(
            f"`{path / TOKENS}` does not give one leaf below {len(centres)} for each candidate."
        )
    return Partition(centres.astype(np.float32), leaf.astype(np.int32))


def holds(path: Path, vectors: np.ndarray) -> bool:
    """Returns whether a serialised searcher holds just these vectors, [N, d] float32."""
    return same_rows(np.load(path / DATASET, mmap_mode="r", allow_pickle=False), vectors)


def same_rows(some: np.ndarray, others: np.ndarray) -> bool:
    """Returns whether two arrays [N, d] are equal, in bounded memory."""
    return some.shape == others.shape and all(
        np.array_equal(some[start : start + _BLOCK], others[start : start + _BLOCK])
        for start in range(0, len(some), _BLOCK)
    )


def leaf_sizes(partition: Partition) -> dict[str, float]:
    """Describes how evenly the leaves are filled.

    Returns:
        `min`, `median`, `mean` and `max` candidates of a leaf, `cv` (the
        deviation over the mean; 0 is even) and `empty`, leaves without any.
    """
    sizes = np.bincount(partition.leaf, minlength=len(partition.centres))
    return {
        "min": int(sizes.min()),
        "median": float(np.median(sizes)),
        "mean": float(sizes.mean()),
        "max": int(sizes.max()),
        "cv": round(float(sizes.std() / sizes.mean()), 4),
        "empty": int((sizes == 0).sum()),
    }


def _centres(data: bytes) -> np.ndarray:
    root = _only(_only(_only(data, 2), 1), 1)
    rows = [
        np.frombuffer(_only(centre, 1), dtype="<f8")
        for field, centre in _fields(root)
        if field == 1
    ]
    if not rows or any(row.shape != rows[0].shape for row in rows):
        raise ValueError("centres of unequal length, or none")
    return np.stack(rows)  # [L, d]


def _only(data: bytes, number: int) -> bytes:
    for field, value in _fields(data):
        if field == number:
            return value
    raise ValueError(f"field {number} is missing")


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields number and content of the length-delimited fields of a message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("a field is cut short")
            yield key >> 3, data[at : at + length]
            at += length
        elif wire == 0:
            _, at = _varint(data, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
