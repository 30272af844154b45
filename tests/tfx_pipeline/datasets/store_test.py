"""An event log in an object store reads, validates and generates as on a disk."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.helpers.direct import ONE_WORKER
from tests.helpers.s3_server import S3Server
from tests.tfx_pipeline.components.timeline_example_gen.logs import run
from tests.tfx_pipeline.datasets.small_log import catalogue
from tests.tfx_pipeline.datasets.small_log import events
from tests.tfx_pipeline.datasets.small_log import sound_log
from tfx_pipeline.cli import cli
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.event_log import Manifest
from tfx_pipeline.datasets.event_log import write_event_log
from tfx_pipeline.datasets.user_history import read_history
from tfx_pipeline.datasets.user_history import read_titles
from tfx_pipeline.datasets.validate import inspect_event_log
from transforms import storage
from transforms import stored_folders
from transforms.storage import StoreError
from transforms.storage import place

CONFIG: dict[str, Any] = {"min_target_events": 2, "buckets": 2, "allow_empty_splits": True}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return sound_log(tmp_path / "log")


@pytest.fixture
def stored(log: Path, bucket: str) -> Any:
    """The same log in the store."""
    target: Any = place(f"{bucket}/logs/toy")
    stored_folders.upload(log, target)
    return target


def test_log_in_a_store_is_the_same_log(log: Path, stored: Any) -> None:
    here, there = EventLog(log), EventLog(str(stored))
    for table in ("events", "catalogue", "users"):
        assert there.read(table) == here.read(table)
    assert there.manifest == here.manifest
    assert inspect_event_log(stored) == inspect_event_log(log)
    assert read_history(stored, "u0") == read_history(log, "u0")
    assert read_titles(stored, ["item:0"]) == {"item:0": "red shoe"}


def test_fingerprint_follows_the_content_without_reading_it(
    stored: Any, s3_server: S3Server, log: Path
) -> None:
    s3_server.requests.clear()
    before = EventLog(stored).fingerprint()
    assert "GET" not in {m for m, path in s3_server.requests if path.endswith(".parquet")}
    storage.put_file(log / "events" / "a.parquet", stored / "events" / "a.parquet")
    assert EventLog(stored).fingerprint() == before
    (stored / "manifest.json").write_text('{"name": "other"}')
    assert EventLog(stored).fingerprint() != before


def test_generated_examples_are_the_same_bytes(log: Path, stored: Any, tmp_path: Path) -> None:
    def digests(source: Any, name: str) -> dict[str, str]:
        uri = tmp_path / name
        run(source, uri, ONE_WORKER, **CONFIG)
        return {
            path.relative_to(uri).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in uri.rglob("*")
            if path.is_file()
        }

    assert digests(log, "here") == digests(stored, "there")


def test_log_is_written_whole_and_replaced(bucket: str, s3_server: S3Server) -> None:
    target: Any = place(f"{bucket}/written")
    s3_server.requests.clear()
    manifest = write_event_log(target, Manifest(name="toy"), events(), catalogue())
    written = [path.partition("/written/")[2] for m, path in s3_server.requests if m == "PUT"]
    assert written[-2:] == ["manifest.json", stored_folders.MANIFEST]
    assert (manifest.events, manifest.users) == (12, 3)
    with pytest.raises(FileExistsError, match="`s3://.*` exists already.*--overwrite"):
        write_event_log(target, Manifest(name="toy"), events(), catalogue())
    write_event_log(target, Manifest(name="toy"), events(6), catalogue(), overwrite=True)
    assert EventLog(target).read("events").num_rows == 6


def test_commands_take_addresses(bucket: str, tmp_path: Path) -> None:
    rows = [f"u{i % 7};{i % 5:03d};{1 + i % 28:02d}.01.2024 10:00" for i in range(140)]
    (tmp_path / "orders.csv").write_text("\n".join(["who;what;when", *rows]))
    options = "--user who --item what --time when --event-type buy"
    command = f"data import {tmp_path}/orders.csv {options} --out {bucket}/logs/my-shop"
    made = CliRunner().invoke(cli, shlex.split(command))
    assert made.exit_code == 0, made.output
    assert f"{bucket}/logs/my-shop: 140 events" in made.output
    assert f"--set log_dir={bucket}/logs/my-shop --set run_dir=runs/my-shop" in made.output
    checked = CliRunner().invoke(cli, ["data", "validate", f"{bucket}/logs/my-shop"])
    assert checked.exit_code == 0, checked.output
    assert "140 events" in checked.output


def test_what_the_store_refuses_is_no_damaged_file(
    stored: Any, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3_server.busy = 10_000
    try:
        with pytest.raises(StoreError, match="too busy"):
            inspect_event_log(stored)
    finally:
        s3_server.busy = 0


def test_log_that_is_not_there(bucket: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"`{bucket}/nothing` is not a directory"):
        EventLog(f"{bucket}/nothing")
    checked = CliRunner().invoke(cli, ["data", "validate", "s3://no-such-bucket-here/log"])
    assert isinstance(checked.exception, StoreError)
    assert "There is no bucket `no-such-bucket-here`" in str(checked.exception)
