"""The Evaluator of the ranking stage as a component: a first ranker, then a worse one."""

from __future__ import annotations

from pathlib import Path

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx

from tests.helpers.direct import ONE_WORKER
from tests.helpers.examples import write_examples
from tests.tfx_pipeline.evaluation.click_oracle import expected
from tests.tfx_pipeline.evaluation.click_oracle import rows_of
from tests.tfx_pipeline.evaluation.page_views import ITEMS
from tests.tfx_pipeline.evaluation.page_views import random_page_views
from tests.tfx_pipeline.evaluation.page_views import save_table_ranker
from tests.tfx_pipeline.evaluation.page_views import train_timelines
from tfx_pipeline.evaluation.config import RankingEvaluationConfig
from tfx_pipeline.evaluation.evaluator import Evaluator
from tfx_pipeline.evaluation.run_metrics import write_run_metrics
from transforms import features as f

STANDARD = tfx.types.standard_artifacts
PAGES = random_page_views(count=80, users=30, seed=2)
CLICKS = {
    f"item:{i}": sum(
        label & 1
        for page in PAGES
        for item, label in zip(page.candidates, page.labels, strict=True)
        if item == f"item:{i}"
    )
    for i in range(ITEMS)
}
GOOD = {item: 0.05 + 0.9 * clicks / max(CLICKS.values()) for item, clicks in CLICKS.items()}
WORSE = {
    item: score / 2 if number % 2 else 0.4 for number, (item, score) in enumerate(GOOD.items())
}


def expected_of(scores, end="", factor=1.0):
    pages = [(page, [scores.get(i, 0.0) * factor for i in page.candidates]) for page in PAGES]
    return expected(rows_of(pages, 1 if end else 0), end)


def config(**changed):
    label = {"events": ["click", "buy"]}
    return RankingEvaluationConfig.model_validate(
        {"label": label, "min_users": 10, "slices": [[f.SLICE_HISTORY]], **changed}
    )


def run_evaluator(work: Path, model: Path, baseline: Path, wanted: RankingEvaluationConfig):
    """Runs the component and returns the evaluation's directory and whether it blessed."""

    def importer(name, uri, kind, **more):
        return tfx.dsl.Importer(source_uri=str(uri), artifact_type=kind, **more).with_id(name)

    splits = {"split_names": '["train", "test_pages"]'}
    examples = importer("examples", work / "examples", STANDARD.Examples, properties=splits)
    models = [
        importer("model", model, STANDARD.Model),
        importer("served", baseline, STANDARD.Model),
    ]
    evaluator = Evaluator(
        examples.outputs["result"],
        models[0].outputs["result"],
        models[1].outputs["result"],
        wanted,
        code_version="1",
    ).with_id("evaluator")
    database = str(work / f"{model.name}.sqlite")
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            "clicks",
            str(work / "artifacts" / model.name),
            components=[examples, *models, evaluator],
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                database
            ),
            beam_pipeline_args=list(ONE_WORKER),
        )
    )
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = database
    store = metadata_store.MetadataStore(connection)
    (evaluation,) = store.get_artifacts_by_type("ModelEvaluation")
    (blessing,) = store.get_artifacts_by_type("ModelBlessing")
    return Path(evaluation.uri), blessing.custom_properties["blessed"].int_value


@pytest.mark.slow
def test_a_first_ranker_is_blessed_and_a_worse_one_is_not(tmp_path):
    examples = {"test_pages": [page.serialised() for page in PAGES]}
    write_examples(tmp_path / "examples", examples | {"train": train_timelines(seed=1)})
    (tmp_path / "nothing").mkdir()
    save_table_ranker(tmp_path / "good" / "Format-Serving", GOOD, buy=0.5)
    save_table_ranker(tmp_path / "worse" / "Format-Serving", WORSE, buy=0.5)

    good = expected_of(GOOD) | expected_of(GOOD, "/buy", 0.5)
    loose = config(
        thresholds={"auc": good["auc"] - 0.01, "log_loss": good["log_loss"] + 0.01},
        change_thresholds={"auc": 0.1},  # which no first run is held to
    )
    evaluation, blessed = run_evaluator(tmp_path, tmp_path / "good", tmp_path / "nothing", loose)
    metrics = write_run_metrics(tmp_path / "m.json", {"evaluator": {"evaluation": str(evaluation)}})
    assert blessed == 1 and metrics["gate"] == {"blessed": 1, "failures": []}
    for name, value in good.items():
        assert metrics["test"][name] == pytest.approx(value, abs=1e-6), name
    assert "most_popular/gauc/buy" in metrics["test"]
    assert set(metrics["slices"]) == {f"slice/history={value}" for value in ("0", "1-3", "4-9")}

    worse = expected_of(WORSE)
    change = {name: worse[name] - good[name] for name in ("auc", "log_loss")}
    best = good["calibration"]
    strict = config(
        thresholds={"calibration": {"lower": 0.9 * best, "upper": 1.1 * best}},
        change_thresholds={
            "auc": change["auc"] / 2,
            "log_loss": change["log_loss"] - 0.01,
            "log_loss/buy": 9.0,
        },
        slice_thresholds={"slice/history=0": {"log_loss": 0.1}, "slice/history=99": {"auc": 0.1}},
    )
    evaluation, blessed = run_evaluator(tmp_path, tmp_path / "worse", tmp_path / "good", strict)
    metrics = write_run_metrics(tmp_path / "m.json", {"evaluator": {"evaluation": str(evaluation)}})
    assert metrics["test"]["auc"] == pytest.approx(worse["auc"], abs=1e-6)
    in_slice = metrics["slices"]["slice/history=0"]["log_loss"]
    against = "against the served model"
    assert blessed == 0 and sorted(metrics["gate"]["failures"]) == [
        f"auc changed by {change['auc']:+.4g} {against}; at least {change['auc'] / 2:+.4g} is "
        "required",
        f"calibration is {worse['calibration']:.4g}; at least {0.9 * best:.4g} is required",
        f"log_loss changed by {change['log_loss']:+.4g} {against}; at most "
        f"{change['log_loss'] - 0.01:+.4g} is required",
        f"log_loss in slice/history=0 is {in_slice:.4g}; at most 0.1 is required",
        "no user is in the slice {'slice/history': '99'}",
    ]
