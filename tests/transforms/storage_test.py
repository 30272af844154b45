"""Tests of files in object stores, against a real S3 server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.s3_server import S3Server
from transforms import storage
from transforms import stored_folders
from transforms.arrow import pa
from transforms.arrow import parquet_dataset
from transforms.arrow import parquet_file
from transforms.arrow import pq
from transforms.arrow import read_table
from transforms.storage import StoreError
from transforms.storage import StorePath
from transforms.storage import place
from transforms.stored_folders import MANIFEST


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a folder in it, and an empty file."""
    path = tmp_path / "folder"
    (path / "inner").mkdir(parents=True)
    (path / "one").write_text("1", encoding="utf-8")
    (path / "inner" / "many").write_bytes(os.urandom(3_000_000))
    (path / "inner" / "BLESSED").write_bytes(b"")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in storage.files_below(folder)
    }


def test_place_keeps_paths_of_this_machine() -> None:
    assert place("runs/a") == Path("runs/a")
    assert place("file:///tmp/a") == Path("/tmp/a")
    assert place(Path("a")) == Path("a")


def test_address_behaves_like_a_path() -> None:
    path: Any = place("s3://bucket/logs//day/")
    assert isinstance(path, StorePath)
    assert str(path / "a.parquet") == "s3://bucket/logs/day/a.parquet"
    assert (path / "a.parquet").suffix == ".parquet" and (path / "b/c").name == "c"
    assert str(path.parent) == "s3://bucket/logs"
    assert (path / "b/c").relative_to(path).parts == ("b", "c")
    with pytest.raises(TypeError):  # never in silence a folder `s3:` on this machine
        open(path, "rb")
    with pytest.raises(TypeError):
        Path(path)


@pytest.mark.parametrize("address", ["s3://", "gs:///"])
def test_address_names_a_bucket(address: str) -> None:
    with pytest.raises(ValueError, match="names no bucket"):
        place(address)


def test_scheme_that_nobody_knows_is_named() -> None:
    with pytest.raises(ValueError, match="`nosuch://` is no address that Arrow knows"):
        place("nosuch://bucket/key").exists()


def test_objects_are_written_listed_and_deleted(bucket: str) -> None:
    root = place(bucket) / "root"
    assert not root.exists() and not root.is_dir() and list(root.iterdir()) == []
    (root / "a" / "x.txt").write_text("grüß", encoding="utf-8")
    (root / "b.txt").write_text("", encoding="utf-8")
    assert root.is_dir() and not root.is_file()
    assert sorted(path.name for path in root.iterdir()) == ["a", "b.txt"]
    assert [str(path.relative_to(root)) for path in storage.files_below(root)] == [
        "a/x.txt",
        "b.txt",
    ]
    assert (root / "a" / "x.txt").read_text(encoding="utf-8") == "grüß"
    (root / "b.txt").unlink()
    (root / "b.txt").unlink(missing_ok=True)
    assert not (root / "b.txt").exists()
    with pytest.raises(FileNotFoundError, match="There is no `s3://bucket-.*b.txt`"):
        (root / "b.txt").read_bytes()


def test_folder_goes_there_and_back(bucket: str, folder: Path, tmp_path: Path) -> None:
    target: Any = place(bucket) / "deep" / "folder"
    (target / "stale").write_text("of an upload that was killed")
    stored_folders.upload(folder, target)
    stored = contents(target)
    manifest = json.loads(stored.pop(MANIFEST))
    assert stored == contents(folder)
    assert manifest["files"] == {name: len(data) for name, data in stored.items()}
    stored_folders.download(target, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(folder)
    stored_folders.remove(target)
    assert contents(target) == {}


def test_manifest_and_the_last_file_are_written_last(
    bucket: str, folder: Path, s3_server: S3Server
) -> None:
    target: Any = place(bucket) / "folder"
    s3_server.requests.clear()
    stored_folders.upload(folder, target, last="one")
    written = [path.rpartition("/")[2] for method, path in s3_server.requests if method == "PUT"]
    assert set(written[:-2]) == {"BLESSED", "many"} and written[-2:] == ["one", MANIFEST]


def test_half_a_folder_is_not_taken(bucket: str, folder: Path, tmp_path: Path) -> None:
    target: Any = place(bucket) / "folder"
    stored_folders.upload(folder, target)
    (target / "one").write_text("altered")
    with pytest.raises(StoreError, match="has not the 1 bytes of its manifest"):
        stored_folders.download(target, tmp_path / "a")
    (target / MANIFEST).unlink()
    with pytest.raises(FileNotFoundError, match=MANIFEST):
        stored_folders.download(target, tmp_path / "b")


def test_parquet_is_read_by_row_group(bucket: str, s3_server: S3Server, tmp_path: Path) -> None:
    rows = pa.table(
        {"a": list(range(40_000)), "b": os.urandom(20_000).hex(" ").split()[:1] * 40_000}
    )
    pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=10_000)
    path: Any = place(bucket) / "rows.parquet"
    storage.put_file(tmp_path / "rows.parquet", path)
    with parquet_file(path) as file:
        assert file.num_row_groups == 4
        assert file.read_row_group(2, columns=["a"]) == rows.select(["a"]).slice(20_000, 10_000)
    assert read_table(str(path)) == rows
    assert parquet_dataset([path]).to_table() == rows


def test_bucket_that_is_not_there_is_named(bucket: str, folder: Path) -> None:
    path: Any = place("s3://no-such-bucket-here/log")
    for ask in (
        path.exists,
        path.read_bytes,
        lambda: list(path.iterdir()),
        lambda: path.write_text("x"),
        lambda: stored_folders.upload(folder, path),
    ):
        with pytest.raises(StoreError, match="no bucket `no-such-bucket-here`.*Make it"):
            ask()


def test_store_that_is_busy_is_asked_again(
    bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place(bucket) / "a"
    s3_server.busy = 1
    path.write_text("1")
    s3_server.busy = 1
    assert path.read_text() == "1" and s3_server.busy == 0
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    for ask in (path.is_file, lambda: path.write_text("2"), lambda: list(path.parent.iterdir())):
        s3_server.busy = 2
        with pytest.raises(StoreError, match="too busy for `s3://.*AWS_MAX_ATTEMPTS higher"):
            ask()
    assert s3_server.busy == 0 and path.read_text() == "1"


def test_names_are_not_taken_for_the_status(
    bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3_server.busy = 1
    with pytest.raises(StoreError, match="too busy for `s3://.*/day 403`"):
        (place(bucket) / "day 403").write_text("1")


def test_store_that_is_not_there_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="did not answer for `s3://.*AWS_ENDPOINT_URL"):
        (place(bucket) / "a").exists()


@pytest.mark.parametrize("keys", [{}, {"AWS_ACCESS_KEY_ID": "no", "AWS_SECRET_ACCESS_KEY": "no"}])
def test_missing_and_wrong_credentials_are_told(
    bucket: str, s3_server: S3Server, keys: dict[str, str], tmp_path: Path
) -> None:
    program = f"""
from transforms.storage import place
try:
    place({bucket!r} + "/log").write_text("x")
except RuntimeError as error:
    print(error)
"""
    given = {**os.environ, **s3_server.environment(), "HOME": str(tmp_path)}
    environment = {k: v for k, v in given.items() if not k.startswith("AWS_ACCESS")} | keys
    if not keys:
        environment.pop("AWS_SECRET_ACCESS_KEY")
    s3_server.strict = True
    try:
        ran = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
    finally:
        s3_server.strict = False
    assert ran.returncode == 0, ran.stderr
    assert "AWS_ACCESS_KEY_ID" in ran.stdout and len(ran.stdout.strip().splitlines()) == 1
