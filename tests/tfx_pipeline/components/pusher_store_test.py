"""Versions in an object store: whole or not at all, though nothing is renamed there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from serving.publishing.announce import announce_version
from serving.publishing.config import PusherConfig
from serving.publishing.follow import Follower
from serving.publishing.label_moves import promote
from serving.publishing.label_moves import rollback
from serving.publishing.label_moves import set_withdrawn_aside
from serving.publishing.labels import read_labels
from serving.publishing.lock import LEASE
from serving.publishing.lock import locked
from serving.publishing.origin import baseline_version
from serving.publishing.origin import read_push_state
from serving.publishing.origin import write_origin
from serving.publishing.publish import publish
from serving.publishing.versions import pushed_versions
from serving.publishing.versions import withdrawn_versions
from tests.helpers.s3_server import S3Server
from tests.tfx_pipeline.components.pusher_publish_test import ROOT
from tests.tfx_pipeline.components.pusher_publish_test import add_nothing
from tests.tfx_pipeline.components.pusher_publish_test import files_of
from tests.tfx_pipeline.components.pusher_publish_test import servable
from tfx_pipeline.cli import cli
from transforms.storage import StoreError
from transforms.storage import files_below
from transforms.storage import place
from transforms.stored_folders import MANIFEST

Push = Callable[..., int]


@pytest.fixture
def push_dir(bucket: str) -> Any:
    return place(f"{bucket}/models/retrieval")


@pytest.fixture
def push(push_dir: Any, tmp_path: Path) -> Push:
    """Pushes as the executor does."""

    def once(keep: int = 0, rollbacks: int = 2) -> int:
        config = PusherConfig(rollbacks=rollbacks)
        source = servable(tmp_path / "source", size=10)
        return publish(
            push_dir,
            source,
            lambda version: write_origin(version, f"candidate {os.urandom(4).hex()}", "state"),
            keep=keep,
            announce=lambda version: announce_version(push_dir, version, "shop", config),
        )

    return once


def labels(push_dir: Any) -> tuple[int, int]:
    found = read_labels(push_dir)
    assert found is not None
    return found.versions["stable"], found.versions["canary"]


def names(push_dir: Any) -> list[str]:
    """Returns what is there, without the notes of uploads and locks when all is done."""
    return sorted({path.relative_to(push_dir).parts[0] for path in files_below(push_dir)})


def contents(folder: Any) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in files_below(folder)}


def test_versions_grow_and_are_whole(push_dir: Any, push: Push, tmp_path: Path) -> None:
    assert pushed_versions(push_dir) == [] and read_push_state(push_dir).now == "0@0"
    assert [push(), push()] == [1, 2]
    assert pushed_versions(str(push_dir)) == [1, 2]
    assert names(push_dir) == ["1", "2", "serving"]
    stored = contents(push_dir / "2")
    assert stored.keys() - files_of(tmp_path / "source").keys() == {MANIFEST, "origin.json"}
    assert files_of(tmp_path / "source").items() <= stored.items()
    (push_dir / "41" / "saved_model.pb").write_text("somebody else's, without a manifest")
    assert push() == 42 and pushed_versions(push_dir) == [1, 2, 42]


def test_labels_move_and_come_back(push_dir: Any, push: Push) -> None:
    for _ in range(3):
        push()
    assert labels(push_dir) == (1, 3)
    states = {read_push_state(push_dir).now}
    assert baseline_version(push_dir, "another") == 3
    promote(push_dir)
    assert labels(push_dir) == (3, 3)
    states.add(read_push_state(push_dir).now)
    assert rollback(push_dir).withdrawn == [3]
    with locked(push_dir):
        assert set_withdrawn_aside(push_dir) == [3]
    assert pushed_versions(push_dir) == [1, 2] and withdrawn_versions(push_dir).keys() == {3}
    assert labels(push_dir) == (1, 1) and baseline_version(push_dir, "another") == 1
    states.add(read_push_state(push_dir).now)
    promote(push_dir, 3)
    assert pushed_versions(push_dir) == [1, 2, 3] and withdrawn_versions(push_dir) == {}
    assert labels(push_dir)[0] == 3
    assert len(states) == 3
    with pytest.raises(ValueError, match="There is no version 9"):
        promote(push_dir, 9)


def test_command_moves_labels(push_dir: Any, push: Push) -> None:
    push(), push()
    base = ["--base-path", str(push_dir)]
    promoted = CliRunner().invoke(cli, ["push", "promote", *base])
    assert promoted.exit_code == 0 and "stable 2" in promoted.output, promoted.output
    back = CliRunner().invoke(cli, ["push", "rollback", *base, "--wait", "0"])
    assert back.exit_code == 0, back.output
    assert f"renamed {push_dir}/2/{MANIFEST} to _WITHDRAWN.json" in back.output
    assert labels(push_dir) == (1, 1) and pushed_versions(push_dir) == [1]


def test_old_versions_go(push_dir: Any, push: Push) -> None:
    for _ in range(5):
        push(keep=2, rollbacks=0)
    assert pushed_versions(push_dir) == [1, 4, 5]  # the first is stable
    assert names(push_dir) == ["1", "4", "5", "serving"]


def test_killed_upload_leaves_nothing_that_counts(
    push_dir: Any, push: Push, s3_server: S3Server, tmp_path: Path
) -> None:
    push()
    source = servable(tmp_path / "killed")
    program = (
        "from pathlib import Path; from serving.publishing.publish import publish;"
        f"publish({str(push_dir)!r}, Path({str(source)!r}), lambda version: None)"
    )
    s3_server.held.clear()
    s3_server.hold = "/2/index/vectors.npy"
    try:
        process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
        assert s3_server.held.wait(60)
        while "2" not in names(push_dir):  # half of it
            time.sleep(0.05)
        process.kill()
        process.wait()
    finally:
        s3_server.hold = ""
    assert {"2", ".lock", ".incoming-2"} <= set(names(push_dir))  # half of it is there
    assert pushed_versions(push_dir) == [1]
    assert Follower(push_dir, tmp_path / "copy").update() == [1]
    with pytest.raises(ValueError, match=f"Version 2 is half-written.*lacks {MANIFEST}"):
        promote(push_dir, 2)
    assert push() == 2 and pushed_versions(push_dir) == [1, 2]
    assert "index/vectors.npy" in contents(push_dir / "2")
    assert names(push_dir) == ["1", "2", "serving"]


def test_push_that_cannot_be_announced_never_was(push_dir: Any, push: Push, tmp_path: Path) -> None:
    push()

    def fail(version: int) -> set[int]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        publish(push_dir, servable(tmp_path / "source"), add_nothing, announce=fail)
    assert pushed_versions(push_dir) == [1] and names(push_dir) == ["1", "serving"]


def test_busy_store_stops_the_push_and_says_what_is_served(
    push_dir: Any,
    push: Push,
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    push()
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    def upload_later(version: Path) -> None:
        s3_server.busy = 10_000

    try:
        with pytest.raises(StoreError, match="Nothing was pushed.*too busy.*Version 1 is still"):
            publish(push_dir, servable(tmp_path / "source"), upload_later)
    finally:
        s3_server.busy = 0


def test_one_push_at_a_time(push_dir: Any, push: Push) -> None:
    push()
    with locked(push_dir), pytest.raises(RuntimeError, match="Another push.*process .* on "):
        push()
    host = socket.gethostname()
    dead = 2**22 + 1  # no process has this number
    (push_dir / ".lock" / f"{host}_{dead}_{int(time.time())}_a").write_text("")
    assert push() == 2  # of a killed process here: free at once
    (push_dir / ".lock" / f"other_1_{int(time.time())}_a").write_text("")
    with pytest.raises(RuntimeError, match=r"process 1 on other.*delete s3://.*/other_1_"):
        push()
    for path in (push_dir / ".lock").iterdir():
        path.unlink()
    (push_dir / ".lock" / f"other_1_{int(time.time()) - LEASE - 1}_a").write_text("")
    assert push() == 3


def test_copy_follows(push_dir: Any, push: Push, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    push()
    follower = Follower(push_dir, folder)
    assert follower.update() == [1] and follower.update() == []
    assert read_labels(folder) == read_labels(push_dir)
    push()
    (push_dir / "7" / "saved_model.pb").write_text("half")
    assert follower.update() == [2] and pushed_versions(folder) == [1, 2]
    assert not (folder / "2" / MANIFEST).exists()
    assert (folder / "serving" / "batching_params.pbtxt").is_file()
    promote(push_dir)
    rollback(push_dir)
    with locked(push_dir):
        set_withdrawn_aside(push_dir)
    assert follower.update() == [] and pushed_versions(folder) == [1]
    assert labels(folder) == labels(push_dir) == (1, 1)
    (folder / ".incoming-9").mkdir()  # a server was killed while it fetched
    assert Follower(push_dir, folder).update() == [] and not (folder / ".incoming-9").exists()


def test_command_keeps_a_copy(push_dir: Any, push: Push, tmp_path: Path) -> None:
    push()
    follow = ["push", "follow", "--to", str(tmp_path / "copy"), "--once", "--base-path"]
    for told in ("copied  1 to", "copied  nothing new to"):
        made = CliRunner().invoke(cli, [*follow, str(push_dir)])
        assert made.exit_code == 0 and told in made.output, made.output
    assert pushed_versions(tmp_path / "copy") == [1]
    refused = CliRunner().invoke(cli, [*follow, str(tmp_path)])
    assert "is in no object store" in str(refused.exception)


def test_copy_takes_another_version_of_the_same_number(
    push_dir: Any, push: Push, tmp_path: Path
) -> None:
    from transforms import stored_folders

    push()
    follower = Follower(push_dir, tmp_path / "copy")
    follower.update()
    before = files_of(tmp_path / "copy" / "1")
    stored_folders.remove(push_dir)
    push()
    assert follower.update() == [1]
    assert files_of(tmp_path / "copy" / "1") != before
