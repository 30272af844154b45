"""The directory of an export: its tables, and the manifest that names and describes their files.

    users/part-00000-of-00004.parquet  user_id, timestamp
    items/part-00000-of-00001.parquet  entity_type, entity_id
    manifest.json                      the model, the log, and of each table rows, files, columns

Both tables have `fingerprint`, a hash of what is embedded, `embedding`, a vector of float32, and
`model_version`. A model with K interests gives users a list of K vectors, and one whose interests
are a mixture also `weight`, K numbers. Reading needs neither TensorFlow nor TFX.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transforms.arrow import pa
from transforms.arrow import parquet_file
from transforms.arrow import pc
from transforms.arrow import read_table

FORMAT = 1
MANIFEST = "manifest.json"
FINGERPRINT = "fingerprint"
MODEL_VERSION = "model_version"


@dataclass(frozen=True)
class Table:
    """A table of an export.

    Attributes:
        name: Of its folder.
        keys: Columns that name a row.
        signature: Of the towers, which embeds it.
    """

    name: str
    keys: tuple[str, ...]
    signature: str

    def key(self, rows: pa.Table) -> pa.Array:
        """Returns the names of rows, `:` between the columns: [n] binary."""
        columns = [rows[name].combine_chunks().cast(pa.string()) for name in self.keys]
        joined = pc.binary_join_element_wise(*columns, ":") if len(columns) > 1 else columns[0]
        return joined.cast(pa.binary())

    def part(self, number: int, parts: int) -> str:
        """Returns the file of a part, below the directory of the export."""
        return f"{self.name}/part-{number:05d}-of-{parts:05d}.parquet"


USERS = Table("users", ("user_id",), "serving_default")
ITEMS = Table("items", ("entity_type", "entity_id"), "embed_candidate")
TABLES = (USERS, ITEMS)


@dataclass(frozen=True)
class Export:
    """An export that is there.

    Attributes:
        path: Its directory.
        manifest: What `manifest.json` says.
    """

    path: Path
    manifest: dict[str, Any]

    @property
    def towers(self) -> str:
        """Fingerprint of the towers that embedded it."""
        return str(self.manifest["model"]["towers"])

    def files(self, table: Table) -> list[str]:
        """Returns the files of a table."""
        return [str(self.path / name) for name in self.manifest["tables"][table.name]["files"]]

    def read(self, table: Table) -> pa.Table:
        """Reads a table into memory."""
        return pa.concat_tables([read_table(file) for file in self.files(table)])


def open_export(path: Path) -> Export:
    """Opens an export.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It was written in another format.
    """
    file = path / MANIFEST
    if not file.is_file():
        raise FileNotFoundError(f"`{path}` holds no export of embeddings: it has no {MANIFEST}.")
    manifest = json.loads(file.read_text(encoding="utf-8"))
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"`{file}` is of the format {manifest.get('format')}; this version reads and writes "
            f"{FORMAT}. Export to another directory."
        )
    return Export(path, manifest)


def describe_tables(path: Path, counts: dict[str, Any]) -> dict[str, Any]:
    """Returns of each table what a manifest says.

    Args:
        path: Where the files are.
        counts: By table: `rows`, `embedded`, `kept` and `dropped`.
    """
    found = {}
    for table in TABLES:
        files = sorted(file.relative_to(path).as_posix() for file in _parts(path, table))
        described: dict[str, Any] = {
            name: int(counts.get(table.name, {}).get(name, 0))
            for name in ("rows", "embedded", "kept", "dropped")
        }
        if files:
            with parquet_file(path / files[0]) as file:
                schema = file.schema_arrow
            described["columns"] = {field.name: str(field.type) for field in schema}
        found[table.name] = {**described, "files": files}
    return found


def take_place(made: Path, target: Path) -> None:
    """Puts a finished export in the place of an earlier one, if there is any."""
    aside = _aside(target)
    shutil.rmtree(aside, ignore_errors=True)
    if target.exists():
        target.rename(aside)
    made.rename(target)
    shutil.rmtree(aside, ignore_errors=True)


def put_back(target: Path) -> None:
    """Puts back an earlier export that `take_place` had moved aside when it was killed."""
    if not target.exists() and _aside(target).exists():
        _aside(target).rename(target)


def similarity(tables: dict[str, Any]) -> str:
    """Returns how a user and an item are scored, of what `describe_tables` says."""
    columns = tables[USERS.name].get("columns", {})
    if "weight" in columns:
        return "log of the sum of weight * exp(dot product) over the user's vectors"
    several = columns.get("embedding", "").count("list") > 1
    return "greatest dot product of the user's vectors" if several else "dot product"


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.earlier")


def _parts(path: Path, table: Table) -> Iterator[Path]:
    yield from (path / table.name).glob("part-*.parquet")
