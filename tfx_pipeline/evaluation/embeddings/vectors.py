"""Reads embeddings of users and items from Parquet files.

The form is that of `vitrine export`: `users` with `user_id`, `embedding` and perhaps `weight`,
`items` with `entity_type`, `entity_id` and `embedding`. Other columns are not read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import numpy as np

from serving.index.embedding.columns import EMBEDDING
from serving.index.embedding.columns import WEIGHT
from serving.index.embedding.columns import vectors_column
from serving.index.embedding.columns import weights_column
from tfx_pipeline.datasets.table_files import SUFFIX
from tfx_pipeline.datasets.table_files import visible_files
from tfx_pipeline.export.files import MANIFEST
from transforms.arrow import pa
from transforms.arrow import parquet_file
from transforms.arrow import pc
from transforms.arrow import pq
from transforms.arrow import read_table

KEYS = {"users": ("user_id",), "items": ("entity_type", "entity_id")}
TOP = 2  # vectors of a user with several that probes see besides their mean


@dataclass(frozen=True)
class Vectors:
    """Embeddings of one table.

    Attributes:
        keys: [n] ids; of items `type:id`.
        vectors: [n, K, d] float32, K > 1 where a user has several.
        weights: [n, K] float32, of the mixture; None where there is none.
    """

    keys: np.ndarray
    vectors: np.ndarray
    weights: np.ndarray | None = None

    def aligned(self, keys: np.ndarray) -> tuple[Vectors, int]:
        """Returns the embeddings of given keys, zeros for one that is not there, and how many."""
        if not len(self.keys):
            shape = (len(keys), *self.vectors.shape[1:])
            return Vectors(keys, np.zeros(shape, np.float32)), len(keys)
        at = pc.index_in(pa.array(keys, pa.string()), value_set=pa.array(self.keys, pa.string()))
        there = np.asarray(at.is_valid())
        row = np.asarray(at.fill_null(0))
        vectors = self.vectors[row] * there[:, None, None]
        weights = None if self.weights is None else self.weights[row]
        return Vectors(keys, vectors, weights), int((~there).sum())

    def shares(self) -> np.ndarray:
        """Returns [n, K] float32: weights that sum to one, equal ones where there are none."""
        if self.weights is None:
            rows, count, _ = self.vectors.shape
            return np.full((rows, count), 1 / count, np.float32)
        total = self.weights.sum(axis=1, keepdims=True)
        return np.divide(self.weights, total, out=np.zeros_like(self.weights), where=total > 0)

    def mean(self) -> np.ndarray:
        """Returns [n, d]: the mean of a row's vectors by their weights."""
        return np.einsum("nk,nkd->nd", self.shares(), self.vectors)

    def features(self) -> np.ndarray:
        """Returns what a probe sees of a row: [n, d], of several vectors [n, (1 + TOP) d].

        Several vectors become their mean by weight and the two with the largest weights (the
        first two where weights are equal), one after the other.
        """
        if self.vectors.shape[1] == 1:
            return self.vectors[:, 0]
        top = np.argsort(-self.shares(), axis=1, kind="stable")[:, :TOP]
        best = np.take_along_axis(self.vectors, top[:, :, None], axis=1)  # [n, TOP, d]
        return np.concatenate([self.mean(), best.reshape(len(best), -1)], axis=1)

    def scores(self, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Scores all items for some rows, in the form that the export defines.

        The dot product; with several vectors the best of these; of a mixture
        log sum_k w_k exp(<u_k, v>).

        Args:
            rows: [B] int64.
            items: [N, d] float32.

        Returns:
            [B, N] float32.
        """
        dots = self.vectors[rows] @ items.T  # [B, K, N]
        best: np.ndarray = dots.max(axis=1)
        if self.weights is None:
            return best
        mixed = np.einsum("bk,bkn->bn", self.weights[rows], np.exp(dots - best[:, None]))
        return best + np.log(np.maximum(mixed, np.finfo(np.float32).tiny))


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of users and items.

    Attributes:
        name: Of the row that they are in tables.
        users: [U, K, d]; None where they have none.
        items: [N, 1, d]; None where they have none.
        events: Of the log that they were made from, where the manifest of an export says it.
    """

    name: str
    users: Vectors | None
    items: Vectors | None
    events: int | None = field(default=None, kw_only=True)


def read_embeddings(path: str | Path, name: str = "") -> Embeddings:
    """Reads embeddings.

    Args:
        path: A Parquet file of users or of items, or a directory with `users` or `items`, or
            both: each a file `users.parquet` or a folder of files, as `vitrine export` writes.
        name: What to call them; the file's or directory's name by default.

    Raises:
        FileNotFoundError: There are none.
        ValueError: A file is not of this form, or users and items are not of one space.
    """
    place = Path(path)
    found: dict[str, Vectors] = {}
    if place.is_file():
        found[_table_of(place)] = _read([place], _table_of(place))
    else:
        for table in KEYS:
            single, folder = place / f"{table}{SUFFIX}", place / table
            files = [single] if single.is_file() else []
            if folder.is_dir():
                files += [file for file in visible_files(folder) if file.suffix == SUFFIX]
            if files:
                found[table] = _read(files, table)
    if not found:
        raise FileNotFoundError(
            f"`{place}` holds no embeddings: it is neither a Parquet file nor a directory with "
            "users/*.parquet or items/*.parquet, as `vitrine export` writes."
        )
    users, items = found.get("users"), found.get("items")
    if items is not None and items.vectors.shape[1] > 1:
        raise ValueError(f"An item has one vector; `{place}` has {items.vectors.shape[1]} of each.")
    if users is not None and items is not None:
        widths = users.vectors.shape[2], items.vectors.shape[2]
        if widths[0] != widths[1]:
            raise ValueError(
                f"Users and items must be of one space, for their score is a dot product: in "
                f"`{place}` users have {widths[0]} dimensions and items {widths[1]}. Give them "
                "as two embeddings."
            )
    return Embeddings(name or place.stem, users, items, events=_events(place / MANIFEST))


def _events(manifest: Path) -> int | None:
    """Returns how many events an export read, if its manifest is there and says it."""
    if not manifest.is_file():
        return None
    content = json.loads(manifest.read_text(encoding="utf-8"))
    found = content.get("log", {}).get("rows", {}).get("events")
    return None if found is None else int(found)


def write_embeddings(embeddings: Embeddings, out: str | Path) -> None:
    """Writes `users.parquet` and `items.parquet`, the columns that `read_embeddings` reads.

    Args:
        embeddings: Keys of items are `type:id`.
        out: Directory, made where it is not there.
    """
    Path(out).mkdir(parents=True, exist_ok=True)
    for table, rows in (("users", embeddings.users), ("items", embeddings.items)):
        if rows is None:
            continue
        split = [key.split(":", 1) for key in rows.keys] if table == "items" else rows.keys[:, None]
        columns = dict(zip(KEYS[table], map(pa.array, zip(*split, strict=True)), strict=True))
        one = rows.vectors.shape[1] == 1
        columns[EMBEDDING] = vectors_column(rows.vectors[:, 0] if one else rows.vectors)
        if rows.weights is not None:
            columns[WEIGHT] = weights_column(rows.weights)
        pq.write_table(pa.table(columns), Path(out, f"{table}{SUFFIX}"))


def _table_of(file: Path) -> str:
    """Returns `users` or `items` by the columns of a file."""
    names = set(_columns(file))
    tables = [table for table, keys in KEYS.items() if names.issuperset(keys)]
    if len(tables) != 1:
        raise ValueError(
            f"`{file}` must have the column `user_id` (users), or `entity_type` and `entity_id` "
            f"(items), and not both; it has {sorted(names)}."
        )
    return tables[0]


def _columns(file: Path) -> list[str]:
    """Returns the names of a file's columns."""
    try:
        with parquet_file(file) as opened:
            names: list[str] = opened.schema_arrow.names
            return names
    except pa.ArrowInvalid as error:
        raise type(error)(f"`{file}` cannot be read: {error}") from error


def _read(files: Sequence[Path], table: str) -> Vectors:
    tables = []
    for file in files:
        names = _columns(file)
        missing = [name for name in (*KEYS[table], EMBEDDING) if name not in names]
        if missing:
            raise ValueError(f"`{file}` lacks the columns {missing}; it has {names}.")
        wanted = [*KEYS[table], EMBEDDING]
        if table == "users" and WEIGHT in names:
            wanted.append(WEIGHT)
        tables.append(read_table(file, wanted))
    where = files[0].parent if len(files) > 1 else files[0]
    if len({rows.column_names[-1] for rows in tables}) > 1:
        raise ValueError(f"Some files of `{where}` have the column `{WEIGHT}` and others not.")
    keys = np.concatenate([_keys(rows, table, where) for rows in tables])
    if not len(keys):
        raise ValueError(f"`{where}` has no rows.")
    if len(np.unique(keys)) < len(keys):
        values, counts = np.unique(keys, return_counts=True)
        raise ValueError(f"`{where}` has `{values[counts > 1][0]}` more than once.")
    vectors = _stack([_dense(rows[EMBEDDING], EMBEDDING, where) for rows in tables], where)
    if vectors.ndim == 2:
        vectors = vectors[:, None]
    if vectors.ndim != 3 or 0 in vectors.shape:
        raise ValueError(
            f"`{EMBEDDING}` of `{where}` must be a list of numbers, or of a few such lists; it "
            f"is of the shape {vectors.shape}."
        )
    weights = None
    if WEIGHT in tables[0].column_names:
        weights = _stack([_dense(rows[WEIGHT], WEIGHT, where) for rows in tables], where)
        if weights.shape != vectors.shape[:2] or (weights < 0).any():
            raise ValueError(
                f"`{WEIGHT}` of `{where}` must be a list of {vectors.shape[1]} numbers of at "
                f"least 0, one for each vector; it is of the shape {weights.shape}, "
                f"least {weights.min(initial=0)}."
            )
    return Vectors(keys, vectors, weights)


def _keys(rows: pa.Table, table: str, where: Path) -> np.ndarray:
    columns = [rows[name].cast(pa.string()) for name in KEYS[table]]
    if any(column.null_count for column in columns):
        raise ValueError(f"`{where}` has rows without {' or '.join(KEYS[table])}.")
    joined = pc.binary_join_element_wise(*columns, ":") if len(columns) > 1 else columns[0]
    return np.asarray(joined.to_pylist(), object)


def _stack(parts: Sequence[np.ndarray], where: Path) -> np.ndarray:
    parts = [part for part in parts if len(part)]
    if len({part.shape[1:] for part in parts}) > 1:
        raise ValueError(
            f"Files of `{where}` differ: {sorted({part.shape[1:] for part in parts})}."
        )
    return np.concatenate(parts)


def _dense(column: pa.ChunkedArray, name: str, where: Path) -> np.ndarray:
    """Returns nested lists of equal lengths as an array [n, ...] float32."""
    array = column.combine_chunks()
    shape = [len(array)]
    while _is_list(array.type):
        if array.null_count:
            raise ValueError(f"`{name}` of `{where}` is null in {array.null_count:,} rows.")
        if pa.types.is_fixed_size_list(array.type):
            lengths = np.array([array.type.list_size])
        else:
            lengths = np.unique(np.asarray(pc.list_value_length(array)))
        if len(lengths) > 1:
            raise ValueError(
                f"`{name}` of `{where}` has lists of {lengths[0]} to {lengths[-1]} values; all "
                "rows must have as many."
            )
        shape.append(int(lengths[0]) if len(lengths) else 0)
        array = array.flatten()
    if len(shape) == 1 or not _is_number(array.type) or array.null_count:
        raise ValueError(
            f"`{name}` of `{where}` must be a list of numbers without nulls; it is {column.type}."
        )
    values = np.asarray(array).astype(np.float32).reshape(shape)
    if not np.isfinite(values).all():
        raise ValueError(f"`{name}` of `{where}` has values that are not finite.")
    return values


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)
