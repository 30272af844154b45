"""The baseline is what is served, unless it has seen the test."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tfx import v1 as tfx

from serving.publishing.config import PusherConfig
from serving.publishing.label_moves import promote
from serving.publishing.label_moves import rollback
from serving.publishing.label_moves import set_withdrawn_aside
from serving.publishing.lock import locked
from serving.publishing.origin import EVALUATION
from serving.publishing.origin import NO_BASELINE
from serving.publishing.origin import read_push_state
from serving.publishing.origin import write_origin
from serving.publishing.push import push
from tests.helpers.artifacts import artifact
from tests.helpers.servables import describe_servable
from tests.tfx_pipeline.components.pusher_publish_test import servable
from tfx_pipeline.components.latest_blessed import Executor
from tfx_pipeline.evaluation.held_out import write_held_out
from transforms.storage import place

FILES = ("saved_model.pb", "variables/variables.index", "servable.json", "assets/words.txt")
MORE = ("index/vectors.npy", "evaluation/metrics", "config.json", "assets.extra/warmup")


DAY = 86_400_000_000
DIVIDED_FOR_PAPERS = {
    "config": {
        "split": "leave-last-out",
        "target_events": ["*"],
        "candidate_types": ["item"],
        "min_target_events": 3,
    }
}


def look_up(work: Path, push_dir: str, report: dict[str, Any] | None = None):
    """Runs the executor on examples with this report of their generator."""
    properties = {
        "push_dir": push_dir,
        "stage": "retrieval",
        "release_candidate": "mine",
        "serving_state": "",
        "code_version": "1",
    }
    model = artifact(tfx.types.standard_artifacts.Model, work / "model")
    examples = artifact(tfx.types.standard_artifacts.Examples, work / "examples")
    write_report(work / "examples", report)
    Executor().Do({"examples": [examples]}, {"model": [model]}, properties)
    return model


def write_report(examples: Path, report: dict[str, Any] | None) -> None:
    examples.mkdir(parents=True, exist_ok=True)
    if report is not None:
        (examples / "generation_report.json").write_text(json.dumps(report))


def time_cut(test_day: int) -> dict[str, Any]:
    starts = {"validation_start": (test_day - 7) * DAY, "test_start": test_day * DAY}
    return {"config": {"split": "time-cut"}, **starts}


def push_version(push_dir: Path, candidate: str, report: dict[str, Any] | None = None) -> None:
    """Pushes as the pipeline does; `servable.json` says what the version was made of."""
    scratch = push_dir.parent / f"scratch-{candidate}"
    source = servable(scratch / "servable", size=10)
    describe_servable(source, made_of=candidate)
    write_report(scratch / "examples", report)
    state = read_push_state(push_dir).seen_by(candidate)

    def complete(version: Path) -> None:
        (version / EVALUATION).mkdir()
        write_held_out(scratch / "examples", version / EVALUATION)
        write_origin(version, candidate, state)

    push(push_dir, source, complete, "shop", PusherConfig())


def baseline(model) -> str:
    """What the baseline was made of; empty without one."""
    file = Path(model.uri) / "Format-Serving" / "servable.json"
    return json.loads(file.read_text())["made_of"] if file.exists() else ""


def found(model) -> set[str]:
    root = Path(model.uri)
    return {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}


def test_the_first_run_has_no_baseline(tmp_path):
    for push_dir in (tmp_path / "absent", tmp_path):
        model = look_up(tmp_path / push_dir.name, str(push_dir))
        assert found(model) == {NO_BASELINE}
        assert model.get_int_custom_property("version") == 0


def test_the_newest_version_counts_and_halves_do_not(tmp_path):
    push_dir = tmp_path / "pushed"
    for name in ("9", "10"):
        for file in (*FILES, *MORE):
            (push_dir / name / file).parent.mkdir(parents=True, exist_ok=True)
            (push_dir / name / file).write_text(name)
        describe_servable(push_dir / name)
    (push_dir / "11" / "variables").mkdir(parents=True)  # no SavedModel
    (push_dir / ".incoming-12").mkdir()
    (push_dir / ".incoming-12" / "saved_model.pb").touch()

    model = look_up(tmp_path / "run", str(push_dir))
    assert model.get_int_custom_property("version") == 10
    assert found(model) == {f"Format-Serving/{file}" for file in FILES}
    assert (Path(model.uri) / "Format-Serving" / "saved_model.pb").read_text() == "10"


def test_a_servable_of_another_stage_is_refused(tmp_path):
    push_version(tmp_path / "pushed", "a")
    describe_servable(tmp_path / "pushed" / "1", stage="ranking")
    with pytest.raises(ValueError, match="is a servable of the stage ranking; expected one of the"):
        look_up(tmp_path / "run", str(tmp_path / "pushed"))


def test_a_version_of_the_same_candidate_is_passed_over(tmp_path):
    push_dir = tmp_path / "pushed"
    for version, candidate in (("1", "another"), ("2", "mine"), ("3", "mine")):
        describe_servable(push_dir / version)
        (push_dir / version / "saved_model.pb").write_text(version)
        write_origin(push_dir / version, candidate, "0@0")
    model = look_up(tmp_path / "run", str(push_dir))
    assert model.get_int_custom_property("version") == 1
    names = ("saved_model.pb", "servable.json")
    assert found(model) == {f"Format-Serving/{name}" for name in names}


def test_what_was_rolled_back_is_no_baseline(tmp_path):
    push_dir = tmp_path / "pushed"
    push_version(push_dir, "a")
    push_version(push_dir, "b")
    assert baseline(look_up(tmp_path / "canary", str(push_dir))) == "b"
    states = [read_push_state(push_dir).seen_by("mine")]
    promote(push_dir)
    states.append(read_push_state(push_dir).seen_by("mine"))
    assert baseline(look_up(tmp_path / "promoted", str(push_dir))) == "b"
    rollback(push_dir)
    states.append(read_push_state(push_dir).seen_by("mine"))

    # It is compared with A and, since the Trainer reads the same artifact, starts from A.
    assert baseline(look_up(tmp_path / "rolled_back", str(push_dir))) == "a"
    assert len(set(states)) == 3  # the cache sees each move

    made_in = read_push_state(push_dir).seen_by("b")
    with locked(push_dir):
        assert set_withdrawn_aside(push_dir) == [2]
    assert baseline(look_up(tmp_path / "set_aside", str(push_dir))) == "a"
    # An unchanged run does not bring it back.
    assert read_push_state(push_dir).seen_by("b") == made_in

    push_version(push_dir, "c")
    rollback(push_dir, canary_only=True)
    assert baseline(look_up(tmp_path / "canary_back", str(push_dir))) == "a"


def test_without_another_served_version_the_one_before_it_counts(tmp_path):
    push_dir = tmp_path / "pushed"
    for candidate in ("a", "withdrawn", "mine"):
        push_version(push_dir, candidate)
        if candidate != "a":
            promote(push_dir)
        if candidate == "withdrawn":
            rollback(push_dir)
    assert baseline(look_up(tmp_path / "run", str(push_dir))) == "a"


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        (time_cut(100), time_cut(100), ""),
        (time_cut(100), time_cut(107), ""),
        (time_cut(100), None, ""),
        (None, time_cut(100), ""),
        # `test_days` was raised: what was validation or training then is the test now.
        (time_cut(100), time_cut(99), "seen the events before 1970-04-11.* 1970-04-10"),
        (DIVIDED_FOR_PAPERS, DIVIDED_FOR_PAPERS, ""),
        (DIVIDED_FOR_PAPERS, time_cut(100), "split leave-last-out"),
        (
            DIVIDED_FOR_PAPERS,
            {"config": {**DIVIDED_FOR_PAPERS["config"], "target_events": ["buy"]}},
            "other target_events",
        ),
    ],
)
def test_a_version_that_has_seen_the_test_is_no_baseline(tmp_path, before, now, why):
    push_version(tmp_path / "pushed", "a", before)
    model = look_up(tmp_path / "run", str(tmp_path / "pushed"), now)
    assert baseline(model) == ("" if why else "a")
    if why:
        note = (Path(model.uri) / NO_BASELINE).read_text()
        assert note.startswith("version 1 cannot be compared with: ")
        assert re.search(why, note)


def test_the_baseline_comes_out_of_a_store(tmp_path, bucket):
    push_dir = place(f"{bucket}/models")
    source = servable(tmp_path / "servable", size=10)
    describe_servable(source, made_of="a")

    def complete(version: Path) -> None:
        for name in set(MORE) - {"index/vectors.npy"}:
            (version / name).parent.mkdir(parents=True, exist_ok=True)
            (version / name).write_text("not evaluated")
        write_report(tmp_path / "examples", time_cut(120))
        write_held_out(tmp_path / "examples", version / EVALUATION)
        write_origin(version, "a", "0@0")

    push(push_dir, source, complete, "shop", PusherConfig())
    model = look_up(tmp_path / "run", str(push_dir), time_cut(120))
    assert model.get_int_custom_property("version") == 1 and baseline(model) == "a"
    assert "Format-Serving/saved_model.pb" in found(model)
    assert not any(name.endswith(("vectors.npy", "metrics", "warmup")) for name in found(model))
    later = look_up(tmp_path / "later", str(push_dir), time_cut(100))
    assert found(later) == {NO_BASELINE}  # it has seen what is the test now
