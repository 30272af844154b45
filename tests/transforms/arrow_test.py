"""Files whose schema carries a pickle: nothing runs, and the error says why."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.hostile import hostile
from transforms.arrow import UnsafeFileError
from transforms.arrow import pa
from transforms.arrow import parquet_dataset
from transforms.arrow import pq
from transforms.arrow import read_table

ROOT = Path(__file__).parents[2]
PACKAGES = ("transforms", "models", "tfx_pipeline", "serving", "benchmarks", "deploy")
AROUND = re.compile(
    r"^\s*(import|from) pyarrow|import_module\(.pyarrow|read_(parquet|feather|orc)\b|noqa.*TID251",
    re.MULTILINE,
)

PARQUET: dict[str, Callable[[Path], Any]] = {
    "table": read_table,
    "column": lambda path: read_table(path, ["other"]),
    "file": lambda path: pq.ParquetFile(path).schema_arrow,
    "schema": pq.read_schema,
    "bytes": lambda path: pq.ParquetFile(pa.py_buffer(path.read_bytes())),
}
IPC: dict[str, Callable[[Path], Any]] = {
    "stream": lambda path: pa.ipc.open_stream(path.read_bytes()).read_all(),
    "mapped": lambda path: pa.ipc.open_stream(pa.memory_map(str(path))),
}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A Parquet file, an IPC stream and the directory that reading either would make."""
    marker = tmp_path / "ran"
    table = hostile(pa.table({"query": ["red shoes", None]}), "query", marker)
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_stream(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    return tmp_path / "a.parquet", tmp_path / "a.arrow", marker


def test_the_files_of_these_tests_run_code_where_the_hotfix_is_missing(
    files: tuple[Path, Path, Path],
) -> None:
    script = """
import sys, pyarrow as pa, pyarrow.parquet as pq
if hasattr(pa.PyExtensionType, "set_auto_load"):  # a pyarrow that refuses until it is asked
    pa.PyExtensionType.set_auto_load(True)
pq.read_table(sys.argv[1])
"""
    subprocess.run([sys.executable, "-c", script, files[0]], capture_output=True, check=False)
    assert files[2].is_dir()


@pytest.mark.parametrize("read", PARQUET.values(), ids=PARQUET)
def test_parquet_is_refused(files: tuple[Path, Path, Path], read: Callable[[Path], Any]) -> None:
    with pytest.raises(UnsafeFileError, match="would run code"):
        read(files[0])
    assert not files[2].exists()


@pytest.mark.parametrize("read", IPC.values(), ids=IPC)
def test_ipc_is_refused(files: tuple[Path, Path, Path], read: Callable[[Path], Any]) -> None:
    with pytest.raises(UnsafeFileError, match="would run code"):
        read(files[1])
    assert not files[2].exists()


def test_a_dataset_is_refused_with_its_file(files: tuple[Path, Path, Path]) -> None:
    with pytest.raises(ValueError, match=r"a\.parquet` cannot be read: .* would run code"):
        parquet_dataset([files[0]])
    assert not files[2].exists()


@pytest.mark.parametrize("before", ["", "import pyarrow; ", "import pyarrow_hotfix; "])
@pytest.mark.parametrize("after", ["", "import pyarrow_hotfix; "])
def test_the_order_of_imports_is_free(
    files: tuple[Path, Path, Path], before: str, after: str
) -> None:
    script = (
        f"import sys; {before}from transforms.arrow import UnsafeFileError, read_table; {after}\n"
        "try:\n    read_table(sys.argv[1])\nexcept UnsafeFileError:\n    print('refused')"
    )
    command = [sys.executable, "-c", script, str(files[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr
    assert not files[2].exists()


def test_a_table_is_read_whole_or_in_columns_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2, 3], "b": ["x", "y", None]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    assert read_table(tmp_path / "a.parquet") == table
    assert read_table(str(tmp_path / "a.parquet"), ("b",)) == table.select(["b"])
    (tmp_path / "b.parquet").write_bytes(b"no parquet")
    with pytest.raises(pa.ArrowInvalid, match=r"b\.parquet` cannot be read: "):
        read_table(tmp_path / "b.parquet")


def test_nothing_reads_arrow_around_the_door() -> None:
    around = {
        str(path.relative_to(ROOT)): found.group()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if (found := AROUND.search(path.read_text(encoding="utf-8")))
    }
    assert set(around) == {"transforms/arrow.py"}, around
