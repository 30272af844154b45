"""What the cache has to see of a push directory."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

from serving.publishing.origin import baseline_version
from serving.publishing.origin import read_origin
from serving.publishing.origin import read_push_state
from serving.publishing.origin import release_candidate_id
from serving.publishing.origin import write_origin


def push(push_dir: Path, version: int, candidate: str) -> str:
    """Pushes as the pipeline does: the state is what was there before."""
    state = read_push_state(push_dir).seen_by(candidate)
    (push_dir / str(version)).mkdir(parents=True)
    (push_dir / str(version) / "saved_model.pb").touch()
    write_origin(push_dir / str(version), candidate, state)
    return state


def test_an_unchanged_candidate_finds_the_state_it_was_made_in(tmp_path):
    first = push(tmp_path, 1, "a")
    assert first.startswith("0@")
    assert read_push_state(tmp_path).seen_by("a") == first
    second = push(tmp_path, 2, "b")
    assert second.startswith("1@")
    assert read_push_state(tmp_path).seen_by("b") == second


def test_going_back_to_an_earlier_candidate_is_a_new_state(tmp_path):
    states = [push(tmp_path, version, name) for version, name in ((1, "a"), (2, "b"), (3, "a"))]
    assert len(set(states)) == 3
    assert baseline_version(tmp_path, "a") == 2
    assert baseline_version(tmp_path, "c") == 3


def test_a_deleted_version_is_a_new_state(tmp_path):
    states = [push(tmp_path, 1, "a"), push(tmp_path, 2, "b")]
    shutil.rmtree(tmp_path / "2")
    assert read_push_state(tmp_path).seen_by("b") not in states
    shutil.rmtree(tmp_path / "1")
    assert read_push_state(tmp_path).seen_by("a") not in states
    nothing = read_push_state(tmp_path)
    assert nothing.seen_by("a") == nothing.seen_by("b")


def test_a_version_without_a_note_counts_as_another_candidate(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    assert read_origin(tmp_path / "1") == {}
    assert baseline_version(tmp_path, "a") == 1
    (tmp_path / "1" / "origin.json").write_text("[]")
    assert baseline_version(tmp_path, "a") == 1
    assert read_push_state(tmp_path / "absent").seen_by("a") == "0@0"


def test_a_candidate_is_what_its_components_are_given():
    def component(name, **properties):
        return SimpleNamespace(id=name, exec_properties=properties)

    one = release_candidate_id([component("trainer", seed=1, code="x")])
    assert one == release_candidate_id([component("trainer", code="x", seed=1)])
    assert one != release_candidate_id([component("trainer", seed=2, code="x")])
    assert one != release_candidate_id([component("trainer", seed=1, code="x")], "more")
    assert one != release_candidate_id([component("other", seed=1, code="x")])
