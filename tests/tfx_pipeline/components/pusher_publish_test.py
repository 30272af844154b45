"""A version is pushed whole or not at all."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.publishing.models_config import named_versions
from serving.publishing.publish import publish
from serving.publishing.versions import pushed_versions
from tests.helpers.servables import FILES
from tests.helpers.servables import describe_servable

ROOT = Path(__file__).parents[3]


def servable(path: Path, size: int = 1000) -> Path:
    for name in FILES:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(os.urandom(size))
    return describe_servable(path)


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
    }


def add_nothing(version: Path) -> None:
    assert not version.name.isdecimal()  # no server takes this name for a version


def names(push_dir: Path) -> list[str]:
    return sorted(entry.name for entry in push_dir.iterdir() if entry.name != ".lock")


def test_versions_grow_and_are_whole(tmp_path):
    source, push_dir = servable(tmp_path / "servable"), tmp_path / "pushed"

    def complete(version: Path) -> None:
        add_nothing(version)
        (version / "config.json").write_text("{}")

    assert publish(push_dir, source, complete) == 1
    assert publish(push_dir, source, complete) == 2
    assert names(push_dir) == ["1", "2"]
    assert files_of(push_dir / "2") == files_of(source) | {"config.json": b"{}"}
    (push_dir / "41").mkdir()
    (push_dir / "41" / "saved_model.pb").touch()  # somebody else's version
    assert publish(push_dir, source, complete) == 42


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (("4", str(2**63)), 5),  # no server takes it for a version
        (("4", "9" * 30, "٦"), 5),
        (("4", str(2**63 - 1)), 5),  # the last number: nothing can follow it
        (("0006",), 7),
    ],
)
def test_names_beyond_an_int64_do_not_choose_the_next_version(tmp_path, present, expected):
    source, push_dir = servable(tmp_path / "servable"), tmp_path / "pushed"
    for name in present:
        (push_dir / name).mkdir(parents=True)
        (push_dir / name / "saved_model.pb").touch()
    assert publish(push_dir, source, add_nothing) == expected
    assert names(push_dir) == sorted([*present, str(expected)])


def test_a_directory_that_is_not_complete_is_not_overwritten(tmp_path):
    source, push_dir = servable(tmp_path / "servable"), tmp_path / "pushed"
    (push_dir / "1").mkdir(parents=True)
    (push_dir / "1" / "notes").touch()
    assert publish(push_dir, source, add_nothing) == 2


def test_no_number_is_left(tmp_path):
    source, push_dir = servable(tmp_path / "servable"), tmp_path / "pushed"
    (push_dir / str(2**63 - 2)).mkdir(parents=True)
    with pytest.raises(ValueError, match="No number is left.*9223372036854775806"):
        publish(push_dir, source, add_nothing)
    assert names(push_dir) == [str(2**63 - 2)]


def test_old_versions_go_and_protected_ones_stay(tmp_path):
    source, push_dir = servable(tmp_path / "servable"), tmp_path / "pushed"
    for _ in range(5):
        publish(push_dir, source, add_nothing, keep=2, protected={1})
    assert pushed_versions(push_dir) == [1, 4, 5]
    publish(push_dir, source, add_nothing, keep=0)
    assert pushed_versions(push_dir) == [1, 4, 5, 6]
    assert names(push_dir) == ["1", "4", "5", "6"]
    (push_dir / "1").rename(push_dir / "001")  # a server reads it as 1
    publish(push_dir, source, add_nothing, keep=1)
    assert names(push_dir) == ["7"]


def test_labelled_versions_are_found(tmp_path):
    config = tmp_path / "models.config"
    config.write_text(
        """model_config_list {
          config { name: "shop" base_path: "/models/shop" model_platform: "tensorflow"
            model_version_policy { specific { versions: 3 versions: 7 } }
            version_labels { key: "stable" value: 3 } version_labels { key: "canary" value: 9 } }
          config { name: "other" base_path: "/models/other"
            model_version_policy { specific { versions: 1 } } }
        }"""
    )
    push_dir = tmp_path / "pushed" / "retrieval"
    assert named_versions(config, "shop", push_dir) == {3, 7, 9}
    assert named_versions(config, "shop-ranking", push_dir) == set()
    assert named_versions(config, "shop-ranking", push_dir, "/models/shop/") == {3, 7, 9}
    assert named_versions(config, "shop-ranking", "/models/other") == {1}
    config.write_text("model_config_list {")
    with pytest.raises(ValueError, match="models.config"):
        named_versions(config, "shop", push_dir)


def test_another_model_of_the_same_stage_is_not_taken_for_this_one(tmp_path):
    config = tmp_path / "models.config"
    config.write_text(
        """model_config_list { config { name: "b" base_path: "/models/b/retrieval"
             version_labels { key: "stable" value: 3 } } }"""
    )
    assert named_versions(config, "a", tmp_path / "a" / "retrieval") == set()


def test_an_incomplete_servable_is_refused_before_anything_is_written(tmp_path):
    source = servable(tmp_path / "servable")
    (source / "index" / "vectors.npy").unlink()
    with pytest.raises(FileNotFoundError, match="index/vectors.npy"):
        publish(tmp_path / "pushed", source, add_nothing)
    describe_servable(source, required=["saved_model.pb"])  # another stage's may have no index
    assert publish(tmp_path / "other", source, add_nothing) == 1
    (source / "servable.json").write_text('{"stage": "retrieval"}')
    with pytest.raises(ValueError, match="should say `stage`, `signatures` and `required`"):
        publish(tmp_path / "pushed", source, add_nothing)
    (source / "servable.json").unlink()
    with pytest.raises(FileNotFoundError, match="lacks servable.json, so it is not pushed"):
        publish(tmp_path / "pushed", source, add_nothing)
    assert not (tmp_path / "pushed").exists()


def run(code: str, *arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    setup = "import sys; from pathlib import Path\nfrom serving.publishing.publish import publish\n"
    return subprocess.run(
        [sys.executable, "-c", setup + code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


def test_a_killed_push_leaves_the_served_version_whole(tmp_path):
    source, push_dir = servable(tmp_path / "servable"), tmp_path / "pushed"
    publish(push_dir, source, add_nothing)
    before = files_of(push_dir / "1")
    killed = run(
        "import os, signal\n"
        "publish(sys.argv[1], Path(sys.argv[2]), lambda _: os.kill(os.getpid(), signal.SIGKILL))",
        push_dir,
        source,
    )
    assert killed.returncode == -signal.SIGKILL
    left = names(push_dir)
    assert len(left) == 2 and left[0].startswith(".incoming-")
    assert pushed_versions(push_dir) == [1] and files_of(push_dir / "1") == before

    assert publish(push_dir, source, add_nothing) == 2  # the lock died with its process
    assert names(push_dir) == ["1", "2"]


def test_a_full_disk_leaves_the_served_version_whole(tmp_path):
    push_dir = tmp_path / "pushed"
    publish(push_dir, servable(tmp_path / "small"), add_nothing)
    before = files_of(push_dir / "1")
    large = servable(tmp_path / "large", size=300_000)
    failed = run(
        "publish(sys.argv[1], Path(sys.argv[2]), lambda _: None)",
        push_dir,
        large,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert failed.returncode == 1
    message = failed.stderr.strip().splitlines()[-1]
    assert "Version 1 is still served, whole. Free space and run again." in message
    assert names(push_dir) == ["1"] and files_of(push_dir / "1") == before
    assert publish(push_dir, large, add_nothing) == 2


@pytest.mark.parametrize("size", [0, 999])
def test_a_copy_that_is_cut_short_is_not_pushed(tmp_path, size):
    source, push_dir = servable(tmp_path / "servable"), tmp_path / "pushed"
    publish(push_dir, source, add_nothing)
    with pytest.raises(
        OSError, match=r"index/vectors.npy was not copied whole.*Version 1 is still"
    ):
        publish(push_dir, source, lambda copy: os.truncate(copy / "index" / "vectors.npy", size))
    with pytest.raises(OSError, match="servable.json was not copied whole"):
        publish(push_dir, source, lambda copy: (copy / "servable.json").unlink())
    assert names(push_dir) == ["1"] and files_of(push_dir / "1") == files_of(source)


def test_everything_is_on_the_disk_before_the_version_has_its_name(tmp_path, monkeypatch):
    source, push_dir = servable(tmp_path / "servable"), tmp_path / "pushed"
    flushed: list[Path] = []
    flush = os.fsync

    def note(descriptor: int) -> None:
        flush(descriptor)
        flushed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))

    monkeypatch.setattr(os, "fsync", note)
    publish(push_dir, source, lambda copy: (copy / "config.json").write_text("{}"))
    *inside, outside = flushed
    assert outside == push_dir  # the name itself
    (incoming,) = {path for path in inside if path.parent == push_dir}
    assert incoming.name.startswith(".incoming-")
    version = push_dir / "1"
    wanted = {path.relative_to(version) for path in version.rglob("*")} | {Path()}
    assert {path.relative_to(incoming) for path in inside} == wanted
    for number, path in enumerate(inside):  # an entry is flushed behind what it leads to
        assert not set(inside[number:]) & set(path.rglob("*")), path


def test_a_push_goes_beside_a_half_copied_version(tmp_path):
    source, push_dir = servable(tmp_path / "servable"), tmp_path / "pushed"
    (push_dir / "7" / "index").mkdir(parents=True)  # somebody copies, and the graph comes last
    (push_dir / "7" / "index" / "vectors.npy").write_bytes(b"half")
    assert pushed_versions(push_dir) == []
    assert publish(push_dir, source, add_nothing, keep=1) == 8
    assert pushed_versions(push_dir) == [8]
    assert files_of(push_dir / "7") == {"index/vectors.npy": b"half"}


def test_two_pushes_do_not_meet(tmp_path):
    source, push_dir = servable(tmp_path / "servable"), tmp_path / "pushed"

    def push_again(_: Path) -> None:
        with pytest.raises(RuntimeError, match="Another push"):
            publish(push_dir, source, add_nothing)

    assert publish(push_dir, source, push_again) == 1


def test_a_lock_that_is_a_link_is_refused_and_its_target_kept(tmp_path):
    source, push_dir = servable(tmp_path / "servable"), tmp_path / "pushed"
    precious = tmp_path / "precious"
    precious.write_text("kept")
    push_dir.mkdir()
    (push_dir / ".lock").symlink_to(precious)
    with pytest.raises(RuntimeError, match=r"\.lock is a symbolic link"):
        publish(push_dir, source, add_nothing)
    assert precious.read_text() == "kept"
    assert names(push_dir) == []


def test_a_servable_that_holds_a_pickle_is_not_pushed(tmp_path):
    source, push_dir = servable(tmp_path / "servable"), tmp_path / "pushed"
    (source / "index" / "scann_docids.bin").write_bytes(pickle.dumps(["movie:1"]))
    with pytest.raises(ValueError, match="scann_docids.bin` is a pickle"):
        publish(push_dir, source, add_nothing)
    assert not push_dir.exists()
