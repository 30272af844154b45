"""A run's folder and its directory in an object store: what is there can always be gone on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ml_metadata import proto
from ml_metadata.metadata_store import metadata_store

from tests.helpers.s3_server import S3Server
from tfx_pipeline.runners.mirror import DATABASE
from tfx_pipeline.runners.mirror import RunMirror
from tfx_pipeline.runners.mirror import local_run_dir
from tfx_pipeline.runners.mirror import mirrored
from transforms.storage import StoreError
from transforms.storage import files_below
from transforms.storage import place


class Machine:
    """A machine that runs components: each writes a file and says so in ML Metadata."""

    def __init__(self, run_dir: Any, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.mirror = RunMirror(run_dir, folder)
        self.folder = folder
        self.mirror.fetch()

    def store(self) -> metadata_store.MetadataStore:
        connection = proto.ConnectionConfig()
        connection.sqlite.filename_uri = str(self.folder / DATABASE)
        return metadata_store.MetadataStore(connection)

    def write(self, name: str, text: str = "x") -> Path:
        path = self.folder / "artifacts" / name
        path.mkdir(parents=True, exist_ok=True)
        (path / "data").write_text(text)
        (path / "BLESSED").write_bytes(b"")
        return path

    def component(self, name: str, text: str = "x") -> None:
        path = self.write(name, text)
        store = self.store()
        kind = store.put_artifact_type(proto.ArtifactType(name="Examples"))
        live = proto.Artifact.State.LIVE
        store.put_artifacts([proto.Artifact(type_id=kind, uri=str(path), state=live)])
        self.mirror.save()

    def artifacts(self) -> list[proto.Artifact]:
        return self.store().get_artifacts()


@pytest.fixture
def run_dir(bucket: str) -> Any:
    return place(f"{bucket}/runs/shop")


def stored(run_dir: Any) -> dict[str, bytes]:
    return {
        str(path.relative_to(run_dir)): path.read_bytes()
        for path in files_below(run_dir)
        if path.name != DATABASE
    }


def test_another_machine_goes_on(run_dir: Any, tmp_path: Path) -> None:
    first = Machine(run_dir, tmp_path / "a" / "scratch")
    first.component("trainer/model/1", "towers")
    (before,) = first.artifacts()
    second = Machine(run_dir, tmp_path / "b" / "scratch")
    (fetched,) = second.artifacts()
    assert fetched.uri == str(tmp_path / "b/scratch/artifacts/trainer/model/1")
    assert Path(fetched.uri, "data").read_text() == "towers"
    assert Path(fetched.uri, "BLESSED").is_file()
    fetched.uri = before.uri
    assert fetched == before  # times too, or TFX's cache would not know it
    second.component("pusher/pushed/2")
    first.mirror.fetch()
    assert [Path(one.uri).is_dir() for one in first.artifacts()] == [True, True]


def test_metadata_in_the_store_says_where_artifacts_are(run_dir: Any, tmp_path: Path) -> None:
    machine = Machine(run_dir, tmp_path / "scratch")
    machine.component("trainer/model/1")
    (tmp_path / DATABASE).write_bytes((run_dir / DATABASE).read_bytes())
    connection = proto.ConnectionConfig()
    connection.sqlite.filename_uri = str(tmp_path / DATABASE)
    (found,) = metadata_store.MetadataStore(connection).get_artifacts()
    assert found.uri == f"{run_dir}/artifacts/trainer/model/1"
    assert machine.artifacts()[0].uri == str(tmp_path / "scratch/artifacts/trainer/model/1")


def test_what_a_killed_component_or_upload_left_is_not_taken(run_dir: Any, tmp_path: Path) -> None:
    machine = Machine(run_dir, tmp_path / "a")
    machine.component("trainer/model/1")
    machine.write("pusher/pushed/2", "half")  # killed before it finished
    (run_dir / "artifacts/pusher/pushed/2/data").write_text("half")  # and while it was sent
    (run_dir / "artifacts/pusher/pushed/2/more").write_text("half")
    other = Machine(run_dir, tmp_path / "b")
    assert not (other.folder / "artifacts/pusher").exists()
    other.component("pusher/pushed/2", "full")  # as many bytes
    assert stored(run_dir) == {
        "artifacts/trainer/model/1/data": b"x",
        "artifacts/trainer/model/1/BLESSED": b"",
        "artifacts/pusher/pushed/2/data": b"full",
        "artifacts/pusher/pushed/2/BLESSED": b"",
    }
    machine.mirror.fetch()
    assert (machine.folder / "artifacts/pusher/pushed/2/data").read_text() == "full"


def test_same_machine_keeps_what_it_had_not_sent(run_dir: Any, tmp_path: Path) -> None:
    machine = Machine(run_dir, tmp_path / "a")
    machine.component("trainer/model/1")
    checkpoint = machine.write("trainer/model_run/checkpoints")
    again = Machine(run_dir, tmp_path / "a")
    assert (checkpoint / "data").is_file() and len(again.artifacts()) == 1


def test_only_what_is_new_is_sent(run_dir: Any, tmp_path: Path, s3_server: S3Server) -> None:
    machine = Machine(run_dir, tmp_path / "a")
    machine.component("trainer/model/1")
    s3_server.requests.clear()
    machine.component("pusher/pushed/2")
    sent = {path for method, path in s3_server.requests if method == "PUT"}
    assert not any("trainer" in path for path in sent) and any("pusher" in path for path in sent)


def test_store_that_fails_keeps_the_state_before(
    run_dir: Any, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(run_dir, tmp_path / "a")
    machine.component("trainer/model/1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3_server.busy = 10_000
    try:
        with pytest.raises(StoreError, match="too busy"):
            machine.component("pusher/pushed/2")
    finally:
        s3_server.busy = 0
    assert len(Machine(run_dir, tmp_path / "b").artifacts()) == 1
    machine.mirror.save()
    assert len(Machine(run_dir, tmp_path / "c").artifacts()) == 2


def test_log_is_kept_when_a_run_fails(
    run_dir: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITRINE_SCRATCH_DIR", str(tmp_path))
    with pytest.raises(RuntimeError), mirrored(run_dir) as (folder, _):
        (folder / "run.log").write_text("why")
        raise RuntimeError
    assert stored(run_dir) == {"run.log": b"why"}
    assert local_run_dir(str(run_dir)) == folder


def test_one_run_at_a_time_works_here(
    run_dir: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITRINE_SCRATCH_DIR", str(tmp_path))
    with mirrored(run_dir) as (folder, _):
        with pytest.raises(RuntimeError, match="is going on here"), mirrored(run_dir):
            pass
        (folder / "artifacts").mkdir()
        (folder / "artifacts" / "new").write_text("not sent yet")
        (run_dir / DATABASE).write_text("of another machine")
        assert local_run_dir(run_dir) == folder and (folder / "artifacts" / "new").is_file()


def test_folder_of_this_machine_is_used_as_it_is(tmp_path: Path) -> None:
    with mirrored(tmp_path) as (folder, keep):
        keep()
    assert folder == tmp_path and list(tmp_path.iterdir()) == []
    assert local_run_dir(tmp_path) == tmp_path
