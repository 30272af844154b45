"""The last blessed servable is the newest version that was pushed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tfx import v1 as tfx

from tests.helpers.artifacts import artifact
from tfx_pipeline.components.latest_blessed import NO_BASELINE
from tfx_pipeline.components.latest_blessed import Executor
from tfx_pipeline.components.pusher.origin import write_origin

FILES = ("saved_model.pb", "variables/variables.index", "servable.json", "assets/words.txt")
MORE = ("index/vectors.npy", "evaluation/metrics", "config.json", "assets.extra/warmup")


def look_up(work: Path, push_dir: str):
    (work / "model").mkdir(parents=True)
    properties = {
        "push_dir": push_dir,
        "candidate": "mine",
        "serving_state": "",
        "code_version": "1",
    }
    model = artifact(tfx.types.standard_artifacts.Model, work / "model")
    Executor().Do({}, {"model": [model]}, properties)
    return model


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
    (push_dir / "11" / "variables").mkdir(parents=True)  # no SavedModel
    (push_dir / ".incoming-12").mkdir()
    (push_dir / ".incoming-12" / "saved_model.pb").touch()

    model = look_up(tmp_path / "run", str(push_dir))
    assert model.get_int_custom_property("version") == 10
    assert found(model) == {f"Format-Serving/{file}" for file in FILES}
    assert (Path(model.uri) / "Format-Serving" / "saved_model.pb").read_text() == "10"


def test_a_version_of_the_same_candidate_is_passed_over(tmp_path):
    push_dir = tmp_path / "pushed"
    for version, candidate in (("1", "another"), ("2", "mine"), ("3", "mine")):
        (push_dir / version).mkdir(parents=True)
        (push_dir / version / "saved_model.pb").write_text(version)
        write_origin(push_dir / version, candidate, "0@0")
    model = look_up(tmp_path / "run", str(push_dir))
    assert model.get_int_custom_property("version") == 1
    assert found(model) == {"Format-Serving/saved_model.pb"}


def test_a_bucket_is_refused(tmp_path):
    with pytest.raises(ValueError, match="mounted"):
        look_up(tmp_path / "run", "gs://bucket/models")
