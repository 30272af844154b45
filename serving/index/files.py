"""The directory of an index: what it holds, how it is written, read and checked.

    candidates.parquet  one row a candidate: id ("type:id"), entity_type, title,
                        available_from (microseconds, null if always available)
    vectors.npy         float32 [N, d], row i belongs to row i of the candidates
    scann/              the serialised ScaNN searcher, without docids, or those of
                        its parts (`serving.index.parts`)
    curve.csv, .svg     recall against cost, if the search was tuned
    index.json          counts, parameters, and size and SHA-256 of every file

Rows are ordered by (shard, id), where the shard is a hash of the id: the same
catalogue gives the same order whatever the number of workers. An update keeps
rows where they are, appends, and fills a hole with the last row (of the part, in
an index in parts). Neither TensorFlow nor ScaNN is needed to read a directory,
and nothing in it is pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serving.pickles import refuse_pickles
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import read_table

FORMAT_VERSION = 2
ALWAYS = np.iinfo(np.int64).min  # an `available_from` that hides nothing
CANDIDATES = "candidates.parquet"
VECTORS = "vectors.npy"
SCANN = "scann"
TREE_AH = "tree_ah"  # the type of an index with leaves, codes and vectors
INDEX = "index.json"
INDEX_DIR = "index"  # where it rides

CANDIDATES_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("entity_type", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("available_from", pa.int64()),
    ]
)


class IndexIntegrityError(ValueError):
    """An index directory is not what its `index.json` says, or is not safe to read."""


@dataclass(frozen=True)
class IndexFiles:
    """An opened index directory.

    Attributes:
        path: The directory.
        info: The content of `index.json`.
        candidates: The table of candidates, N rows.
        vectors: [N, d] float32, memory-mapped.
    """

    path: Path
    info: Mapping[str, Any]
    candidates: pa.Table
    vectors: np.ndarray

    @property
    def size(self) -> int:
        """N, the number of candidates."""
        return self.vectors.shape[0]

    def rows(self) -> dict[str, int]:
        """Returns the row of each candidate by its id."""
        return {name: row for row, name in enumerate(self.candidates["id"].to_pylist())}

    def available_from(self) -> np.ndarray | None:
        """Returns [N] int64 microseconds, or None when every candidate is always available."""
        column = self.candidates["available_from"]
        return (
            None if column.null_count == len(column) else column.fill_null(int(ALWAYS)).to_numpy()
        )

    @property
    def scann_dir(self) -> Path:
        """The directory of the serialised ScaNN searcher."""
        return self.path / SCANN

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `index.json`, which holds the hashes of the other files."""
        return sha256(self.path / INDEX)


def counts(candidates: pa.Table, vectors: np.ndarray) -> dict[str, Any]:
    """Returns what `index.json` says of [N, d] vectors and their candidates."""
    types = pc.value_counts(candidates["entity_type"])
    return {
        "candidates": vectors.shape[0],
        "dimension": vectors.shape[1],
        "candidate_types": {str(row["values"]): row["counts"].as_py() for row in types},
    }


def write_info(path: Path, info: Mapping[str, Any]) -> dict[str, Any]:
    """Seals a directory: writes `index.json` with `info` and every file's size and hash."""
    refuse_pickles(path)
    files = {
        str(file.relative_to(path)): {"bytes": file.stat().st_size, "sha256": sha256(file)}
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != INDEX
    }
    sealed = {**info, "format_version": FORMAT_VERSION, "files": files}
    text = json.dumps(sealed, indent=1, sort_keys=True) + "\n"
    (path / INDEX).write_text(text, encoding="utf-8")
    return sealed


def open_index(path: str | Path, *, check_hashes: bool = True) -> IndexFiles:
    """Opens an index directory and checks it.

    Args:
        path: The directory.
        check_hashes: Whether to read every file and compare its hash.

    Raises:
        FileNotFoundError: There is no sealed index at `path`.
        IndexIntegrityError: A file is missing, added or altered, or rows,
            dimensions or values do not fit together.
        PickledFileError: A file is a pickle.
    """
    path = Path(path)
    if not (path / INDEX).is_file():
        raise FileNotFoundError(
            f"`{path}` holds no `{INDEX}`: it is not an index directory, or its build did "
            "not finish. Run the index builder again."
        )
    refuse_pickles(path)
    info = _read_info(path)
    _check_files(path, info, check_hashes)
    candidates = load_candidates(path)
    vectors = load_vectors(path)
    check_rows(path, candidates, vectors)
    counted = (info.get("candidates"), info.get("dimension"))
    if counted != vectors.shape:
        raise IndexIntegrityError(
            f"`{path / INDEX}` says {counted[0]} candidates of {counted[1]} dimensions, but "
            f"`{VECTORS}` holds {vectors.shape[0]} of {vectors.shape[1]}. Build the index again."
        )
    return IndexFiles(path, info, candidates, vectors)


def load_candidates(path: Path) -> pa.Table:
    """Reads `candidates.parquet` of the directory `path`."""
    try:
        return read_table(path / CANDIDATES)
    except pa.ArrowInvalid as error:
        raise IndexIntegrityError(f"{error} Build the index again.") from error


def load_vectors(path: Path) -> np.ndarray:
    """Maps `vectors.npy` of the directory `path` into memory: [N, d] float32."""
    try:
        vectors = np.load(path / VECTORS, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise IndexIntegrityError(f"`{path / VECTORS}` is no npy array: {error}") from error
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise IndexIntegrityError(
            f"`{path / VECTORS}` has to be float32 [N, d], and is {vectors.dtype} "
            f"{list(vectors.shape)}. Build the index again."
        )
    return vectors


def check_rows(path: Path, candidates: pa.Table, vectors: np.ndarray) -> None:
    """Checks that candidates and vectors fit: schema, counts, unique ids, finite values."""
    if not candidates.schema.equals(CANDIDATES_SCHEMA):
        raise IndexIntegrityError(
            f"`{path / CANDIDATES}` has the columns\n{candidates.schema.to_string()}\nand not\n"
            f"{CANDIDATES_SCHEMA.to_string()}. Build the index again."
        )
    if candidates.num_rows != vectors.shape[0] or not vectors.shape[0]:
        raise IndexIntegrityError(
            f"`{path}` has {candidates.num_rows} candidates and {vectors.shape[0]} vectors; "
            "there has to be one vector a candidate, and at least one."
        )
    ids = candidates["id"]
    if len(ids.unique()) != len(ids):
        counts = pc.value_counts(ids)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        raise IndexIntegrityError(f"`{path}` holds candidates twice: {twice[:10].to_pylist()}.")
    bad = non_finite_rows(vectors)
    if bad.size:
        raise IndexIntegrityError(
            f"`{path}` has {bad.size} vectors that are not finite: "
            f"{ids.take(pa.array(bad[:10])).to_pylist()}."
        )


def non_finite_rows(vectors: np.ndarray, block: int = 65_536) -> np.ndarray:
    """Returns the rows of `vectors` [N, d] with a value that is not finite, in bounded memory."""
    found = [
        start + np.flatnonzero(~np.isfinite(vectors[start : start + block]).all(axis=1))
        for start in range(0, len(vectors), block)
    ]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def directory_fingerprint(path: str | Path) -> str:
    """Returns one SHA-256 over the names and contents of all files below `path`."""
    digest = hashlib.sha256()
    for file in sorted(Path(path).rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(path)}\0{sha256(file)}\0".encode())
    return digest.hexdigest()


def _read_info(path: Path) -> dict[str, Any]:
    try:
        info = json.loads((path / INDEX).read_text(encoding="utf-8"))
    except ValueError as error:
        raise IndexIntegrityError(f"`{path / INDEX}` is no JSON: {error}") from error
    if not isinstance(info, dict) or info.get("format_version") != FORMAT_VERSION:
        found = info.get("format_version") if isinstance(info, dict) else None
        raise IndexIntegrityError(
            f"`{path / INDEX}` has format version {found}, and this code reads "
            f"{FORMAT_VERSION}. Build the index again."
        )
    return info


def _check_files(path: Path, info: Mapping[str, Any], check_hashes: bool) -> None:
    listed = info.get("files", {})
    found = {
        str(file.relative_to(path)): file
        for file in path.rglob("*")
        if file.is_file() and file.name != INDEX
    }
    missing, added = sorted(set(listed) - set(found)), sorted(set(found) - set(listed))
    if missing or added:
        raise IndexIntegrityError(
            f"`{path}` is not as it was built: missing {missing}, added {added}."
        )
    for name, file in found.items():
        if file.stat().st_size != listed[name]["bytes"] or (
            check_hashes and sha256(file) != listed[name]["sha256"]
        ):
            raise IndexIntegrityError(
                f"`{file}` was altered or cut short since the index was built. "
                "Copy it again or build the index again."
            )


def sha256(file: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
