"""Labels: what a push gives, and where promotion and rollback take them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.publishing.announce import announce_version
from serving.publishing.config import PusherConfig
from serving.publishing.label_moves import promote
from serving.publishing.label_moves import rollback
from serving.publishing.label_moves import set_withdrawn_aside
from serving.publishing.labels import current_version
from serving.publishing.labels import read_labels
from serving.publishing.lock import locked
from serving.publishing.models_config import MODELS_CONFIG
from serving.publishing.publish import publish
from serving.publishing.versions import pushed_versions
from serving.publishing.versions import withdrawn_versions
from tests.tfx_pipeline.components.pusher_publish_test import ROOT
from tests.tfx_pipeline.components.pusher_publish_test import add_nothing
from tests.tfx_pipeline.components.pusher_publish_test import servable


def push(push_dir: Path, times: int = 1, keep: int = 0, rollbacks: int = 2) -> None:
    """Pushes as the executor does."""
    config = PusherConfig(serving_path="/models/shop", rollbacks=rollbacks)

    def announce(version: int) -> set[int]:
        return announce_version(push_dir, version, "shop", config)

    for _ in range(times):
        source = servable(push_dir.parent / "source", size=10)
        publish(push_dir, source, add_nothing, keep=keep, announce=announce)


def labels(push_dir: Path) -> tuple[int, int]:
    found = read_labels(push_dir)
    assert found is not None
    return found.versions["stable"], found.versions["canary"]


def written(push_dir: Path) -> model_server_config_pb2.ModelServerConfig:
    """The file as TF Serving's own message."""
    text = (push_dir / MODELS_CONFIG).read_text()
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


@pytest.fixture
def push_dir(tmp_path: Path) -> Path:
    """Three versions, of which the first is stable and the last the canary."""
    push(tmp_path / "pushed", 3)
    return tmp_path / "pushed"


def test_the_first_version_is_stable_and_later_ones_are_canaries(tmp_path):
    push(tmp_path / "pushed")
    assert labels(tmp_path / "pushed") == (1, 1)
    push(tmp_path / "pushed")
    assert labels(tmp_path / "pushed") == (1, 2)
    push(tmp_path / "pushed")
    assert labels(tmp_path / "pushed") == (1, 3)


def test_tf_serving_reads_what_is_written(push_dir):
    (model,) = written(push_dir).model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == (
        "shop",
        "/models/shop",
        "tensorflow",
    )
    # A policy that named versions would keep TF Serving from loading what a label waits for.
    assert model.model_version_policy.WhichOneof("policy_choice") == "all"
    assert dict(model.version_labels) == {"stable": 1, "canary": 3}


def test_promote_takes_the_canary_or_the_version_it_is_told(push_dir):
    move = promote(push_dir)
    assert str(move.before) == "stable 1 · canary 3"
    assert str(move.after) == "stable 3 · canary 3"
    promote(push_dir, 2)
    assert labels(push_dir) == (2, 3)
    assert dict(written(push_dir).model_config_list.config[0].version_labels) == {
        "stable": 2,
        "canary": 3,
    }


def test_rollbacks_go_back_one_by_one(push_dir):
    promote(push_dir, 2)
    promote(push_dir, 3)
    rollback(push_dir)
    assert labels(push_dir) == (2, 2)
    rollback(push_dir)
    assert labels(push_dir) == (1, 1)
    with pytest.raises(ValueError, match="nothing to go back to; the labels are stable 1"):
        rollback(push_dir)
    assert labels(push_dir) == (1, 1)


def test_a_canary_is_taken_back_alone(push_dir):
    before = read_labels(push_dir)
    assert before.versions["canary"] > before.versions["stable"]
    assert current_version(push_dir) == before.versions["canary"]
    after = rollback(push_dir, canary_only=True).after
    assert after.versions == dict.fromkeys(("stable", "canary"), before.versions["stable"])
    assert after.earlier == before.earlier
    assert current_version(push_dir) == before.versions["stable"]
    with pytest.raises(ValueError, match="no canary to take back"):
        rollback(push_dir, canary_only=True)


def test_a_rollback_can_be_taken_back(push_dir):
    promote(push_dir)
    rollback(push_dir)
    promote(push_dir, 3)
    rollback(push_dir)
    assert labels(push_dir) == (1, 1)


def test_a_version_that_was_withdrawn_is_set_aside_and_brought_back(push_dir):
    promote(push_dir)
    assert rollback(push_dir).withdrawn == [3]
    assert (push_dir / "3").is_dir()  # servers answer from it until they have seen the labels
    with locked(push_dir):
        assert set_withdrawn_aside(push_dir) == [3]
        assert set_withdrawn_aside(push_dir) == []
    # Not a number: a server that starts does not try to load it.
    assert sorted(entry.name for entry in push_dir.iterdir()) == [
        ".lock", "1", "2", "serving", "withdrawn-3"
    ]  # fmt: skip
    push(push_dir)
    assert pushed_versions(push_dir) == [1, 2, 4]  # its number is not given twice
    assert promote(push_dir, 3).withdrawn == []
    assert labels(push_dir) == (3, 4)
    assert pushed_versions(push_dir) == [1, 2, 3, 4]


def test_a_withdrawn_version_that_is_half_written_is_not_brought_back(push_dir):
    rollback(push_dir, canary_only=True)
    with locked(push_dir):
        assert set_withdrawn_aside(push_dir) == [3]
    (push_dir / "withdrawn-3" / "saved_model.pb").unlink()
    with pytest.raises(ValueError, match="Version 3 is half-written: .*withdrawn-3 lacks saved"):
        promote(push_dir, 3)
    assert not (push_dir / "3").exists()  # where a server that starts would try to load it


def test_the_next_push_sets_aside_what_nobody_did(push_dir):
    rollback(push_dir, canary_only=True)
    push(push_dir)
    assert pushed_versions(push_dir) == [1, 2, 4]
    assert labels(push_dir) == (1, 4)


def test_versions_that_were_set_aside_go_with_their_age(tmp_path):
    push_dir = tmp_path / "pushed"
    push(push_dir, 3)
    rollback(push_dir, canary_only=True)
    push(push_dir, 2, keep=3)
    assert withdrawn_versions(push_dir).keys() == {3}
    push(push_dir, 1, keep=3, rollbacks=0)
    assert withdrawn_versions(push_dir) == {}
    assert pushed_versions(push_dir) == [1, 4, 5, 6]


def test_a_rollback_never_goes_back_to_what_was_withdrawn(push_dir):
    for version in (2, 3, 2):
        promote(push_dir, version)
    rollback(push_dir)  # from 2 to 3
    rollback(push_dir)
    assert labels(push_dir) == (1, 1)
    assert read_labels(push_dir).withdrawn == (2, 3)


def test_what_is_impossible_is_refused_and_changes_nothing(push_dir):
    before = (push_dir / MODELS_CONFIG).read_bytes()
    with pytest.raises(ValueError, match=r"no version 9 in .*; there are 1, 2, 3"):
        promote(push_dir, 9)
    with pytest.raises(ValueError, match="Version 1 is stable already"):
        promote(push_dir, 1)
    with pytest.raises(ValueError, match="nothing to go back to"):
        rollback(push_dir)
    (push_dir / "2" / "variables" / "variables.index").unlink()
    with pytest.raises(ValueError, match="Version 2 is half-written.*variables.index"):
        promote(push_dir, 2)
    (push_dir / "7" / "index").mkdir(parents=True)
    with pytest.raises(ValueError, match="Version 7 is half-written.*servable.json"):
        promote(push_dir, 7)
    with locked(push_dir), pytest.raises(RuntimeError, match="Another push"):
        promote(push_dir)
    assert (push_dir / MODELS_CONFIG).read_bytes() == before


def test_a_rollback_to_what_is_gone_is_refused(push_dir):
    promote(push_dir)
    shutil.rmtree(push_dir / "1")
    with pytest.raises(ValueError, match=r"no version 1 in .*; there are 2, 3"):
        rollback(push_dir)
    assert labels(push_dir) == (3, 3)


def test_a_directory_without_versions_or_labels_says_so(tmp_path):
    with pytest.raises(ValueError, match="no version yet"):
        promote(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    publish(tmp_path / "old", servable(tmp_path / "source", size=10), add_nothing)
    with pytest.raises(ValueError, match="no labels yet"):
        rollback(tmp_path / "old")
    push(tmp_path / "old")  # what was served before there were labels stays stable
    assert labels(tmp_path / "old") == (1, 2)


def test_a_label_never_names_a_version_that_is_gone(push_dir):
    promote(push_dir, 2)
    shutil.rmtree(push_dir / "2")
    move = promote(push_dir, 1)
    assert move.after.versions == {"stable": 1, "canary": 3}
    shutil.rmtree(push_dir / "3")
    promoted = read_labels(push_dir)
    assert promoted is not None and promoted.earlier == (1, 2)
    push(push_dir)
    assert labels(push_dir) == (1, 2)
    shutil.rmtree(push_dir / "1")
    push(push_dir)
    assert labels(push_dir) == (2, 3)


def test_labelled_versions_and_those_of_a_rollback_stay(tmp_path):
    push_dir = tmp_path / "pushed"
    push(push_dir, 2, keep=1)
    promote(push_dir)
    push(push_dir, 1, keep=1)
    promote(push_dir)
    push(push_dir, 3, keep=1)
    # Servers answer for the canary with 5 until 6 is loaded.
    assert pushed_versions(push_dir) == [1, 2, 3, 5, 6]
    push(push_dir, 1, keep=1, rollbacks=0)
    assert pushed_versions(push_dir) == [3, 6, 7]


def test_other_models_and_labels_in_the_file_stay(push_dir):
    path = push_dir / MODELS_CONFIG
    message = written(push_dir)
    message.model_config_list.config[0].version_labels["night"] = 2
    other = message.model_config_list.config.add(name="other", base_path="/models/other")
    other.model_version_policy.latest.num_versions = 2
    notes = [line for line in path.read_text().splitlines() if line.startswith("#")]
    path.write_text("\n".join(notes) + "\n" + text_format.MessageToString(message))
    promote(push_dir)
    push(push_dir)
    shop, untouched = written(push_dir).model_config_list.config
    assert dict(shop.version_labels) == {"stable": 3, "canary": 4, "night": 2}
    assert untouched == other


def test_a_file_that_cannot_be_read_is_not_overwritten(push_dir):
    path = push_dir / MODELS_CONFIG
    whole = path.read_text()
    for text in ("model_config_list {", whole.replace("# vitrine", "# "), ""):
        path.write_text(text)
        with pytest.raises(ValueError, match="models.config"):
            promote(push_dir)
        with pytest.raises(ValueError, match="models.config"):
            push(push_dir)
        assert path.read_text() == text
        assert pushed_versions(push_dir) == [1, 2, 3]  # no version without its label
        assert not list(push_dir.glob(".incoming*"))


def test_labels_move_without_a_trace_beside_the_versions(push_dir):
    """The time of change of the directory tells the cache whether versions came or went."""
    changed = push_dir.stat().st_mtime_ns
    promote(push_dir)
    rollback(push_dir)
    assert push_dir.stat().st_mtime_ns == changed
    assert sorted(entry.name for entry in (push_dir / "serving").iterdir()) == [
        "batching_params.pbtxt",
        "models.config",
        "monitoring.config",
    ]


def test_a_write_that_fails_leaves_the_labels_as_they_were(push_dir):
    before = (push_dir / MODELS_CONFIG).read_bytes()
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from serving.publishing.label_moves import promote\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "promote(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(push_dir)]
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert failed.returncode == 1 and "File too large" in failed.stderr
    assert (push_dir / MODELS_CONFIG).read_bytes() == before
    assert not list((push_dir / "serving").glob(".*"))
