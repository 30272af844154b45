from __future__ import annotations

import json
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

import tfx_pipeline
from serving.index import files
from serving.index.checking.validate import objections
from serving.index.config import CheckConfig
from tests.helpers.artifacts import artifact
from tests.helpers.artifacts import towers_model
from tests.tfx_pipeline.components.conftest import do
from tfx_pipeline.components.index_validator import Executor
from tfx_pipeline.components.verdict import write_verdict

pytestmark = pytest.mark.slow


def test_a_good_index_is_blessed_as_the_evaluator_blesses(index_run):
    blessing = index_run.blessing
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_string_custom_property("current_index") == index_run.index.uri
    assert blessing.get_int_custom_property("current_index_id") == 7
    assert sorted(path.name for path in Path(blessing.uri).iterdir()) == ["BLESSED", "report.json"]
    assert Path(blessing.uri, "BLESSED").stat().st_size == 0


def test_the_report_says_what_was_measured(index_run):
    report = json.loads(Path(index_run.blessing.uri, "report.json").read_text())
    assert report["blessed"] is True and report["reasons"] == []
    assert report["recall@50"] == report["scann"]["recall"] >= 0.98
    assert report["answer"]["backend"] == "portable" and report["answer"]["recall"] >= 0.98
    assert report["queries"] == 200 and report["candidates"] == 1_500
    for searcher in ("scann", "answer"):
        latency = report[searcher]["latency_ms"]
        assert 0 < latency["p50"] <= latency["p99"]


def test_an_index_below_its_bounds_is_not_blessed(index_run, tmp_path):
    report = json.loads(Path(index_run.blessing.uri, "report.json").read_text())
    bounds = CheckConfig(max_latency_ms=1e-6)
    report["reasons"] = objections(report["scann"], report["answer"], bounds)
    report["blessed"] = False
    assert ["latency" in reason for reason in report["reasons"]] == [True, True]
    blessing = artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")
    write_verdict(blessing, report, "index", index_run.index)
    assert blessing.get_int_custom_property("blessed") == 0
    names = sorted(path.name for path in Path(blessing.uri).iterdir())
    assert names == ["NOT_BLESSED", "report.json"]


def test_an_index_of_other_towers_is_an_error(index_run, tmp_path):
    inputs = {"index": index_run.index, "examples": index_run.examples}
    inputs["model"] = towers_model(tmp_path / "model", seed=3)
    blessing = artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")
    with pytest.raises(files.IndexIntegrityError, match="built with other towers"):
        do(Executor, inputs, {"blessing": blessing}, {"config": "{}"})
    assert list(Path(blessing.uri).iterdir()) == []


def test_an_index_that_was_never_written_is_an_error(index_run, tmp_path):
    inputs = {"model": index_run.model, "examples": index_run.examples}
    inputs["index"] = artifact(tfx_pipeline.RetrievalIndex, tmp_path / "index")
    blessing = artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")
    with pytest.raises(FileNotFoundError, match="holds no `index.json`"):
        do(Executor, inputs, {"blessing": blessing}, {"config": "{}"})
