"""`metrics.json` gathers what the components of a run measured."""

from __future__ import annotations

import json

from serving.publishing.origin import NOT_PUSHED
from tfx_pipeline.evaluation.run_metrics import write_run_metrics


def test_training_and_index(tmp_path):
    best = {"hr@10": 0.25, "epoch": 3, "converged": True, "note": "best"}
    popular = {"hr@10": 0.1, "users": 9.0}
    without = {"best": {"hr@10": 0.05}, "most_popular": {"hr@10": 0.04}}
    training = {"best": best, "epochs": [best], "most_popular": popular, "without_history": without}
    (tmp_path / "training.json").write_text(json.dumps(training))
    report = {
        "blessed": True,
        "recall@100": 0.991,
        "scann": {"recall": 0.991, "latency_ms": {"p50": 0.1, "p99": 0.4, "queries": 100}},
        "answer": {"recall": 1.0, "latency_ms": {"p50": 0.2, "p99": 0.5}},
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    artifacts = {
        "trainer": {"model": "elsewhere", "model_run": str(tmp_path)},
        "index-validator": {"blessing": str(tmp_path)},
    }
    metrics = write_run_metrics(tmp_path / "metrics.json", artifacts)
    assert metrics["validation"] == {"hr@10": 0.25, "epoch": 3.0, "most_popular/hr@10": 0.1}
    assert metrics["validation_slices"] == {
        "slice/activity=0": {"hr@10": 0.05, "most_popular/hr@10": 0.04}
    }
    assert metrics["index"] == {
        "recall@100": 0.991,
        "scann_latency_ms_p50": 0.1,
        "scann_latency_ms_p99": 0.4,
        "answer_latency_ms_p50": 0.2,
        "answer_latency_ms_p99": 0.5,
    }
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics


def test_what_the_order_of_sources_is_and_reaches(tmp_path):
    table = {"tower": {"ndcg@10": 0.06}, "joined": {"ndcg@10": 0.07}}
    report = {"chosen": {"with_history": "joined"}, "validation": {"with_history": table}}
    content = report | {"weights": [[1.0]], "recall": {"with_history": {"tower": 0.3}}}
    (tmp_path / "combination.json").write_text(json.dumps(content))
    artifacts = {"source-combiner": {"combination": str(tmp_path)}}
    assert write_run_metrics(tmp_path / "metrics.json", artifacts)["sources"] == report


def test_an_index_that_was_not_blessed_closes_the_gate(tmp_path):
    report = {"blessed": False, "recall@100": 0.9, "reasons": ["recall@100 0.9 is below 0.98"]}
    (tmp_path / "report.json").write_text(json.dumps(report))
    artifacts = {"index-validator": {"blessing": str(tmp_path)}}
    gate = write_run_metrics(tmp_path / "metrics.json", artifacts)["gate"]
    assert gate == {"blessed": 0, "failures": ["index: recall@100 0.9 is below 0.98"]}


def test_lists_that_were_not_blessed_close_the_gate(tmp_path):
    figures = {"recall": 0.9, "weight_error": 0.0, "coverage": 1.0}
    reasons = ["recall of the recounted neighbours is 0.9000"]
    report = {"blessed": False, "reasons": reasons, "entities": 200, **figures}
    (tmp_path / "report.json").write_text(json.dumps(report))
    artifacts = {"neighbour-validator": {"blessing": str(tmp_path)}}
    metrics = write_run_metrics(tmp_path / "metrics.json", artifacts)
    assert metrics["neighbours"] == figures
    assert metrics["gate"] == {"blessed": 0, "failures": [f"neighbours: {reasons[0]}"]}


def test_a_candidate_that_a_server_did_not_answer_well_from_closes_the_gate(tmp_path):
    reasons = ["latency: expected 1 ms; received 2 ms"]
    report = {"blessed": False, "reasons": reasons, "latency_ms": {"p50": 1.5, "p99": None}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    artifacts = {"serving-validator": {"blessing": str(tmp_path)}}
    metrics = write_run_metrics(tmp_path / "metrics.json", artifacts)
    assert metrics["serving"] == {"latency_ms_p50": 1.5}
    assert metrics["gate"] == {"blessed": 0, "failures": [f"serving: {reasons[0]}"]}


def test_why_nothing_was_pushed_is_told(tmp_path):
    artifacts = {"pusher": {"pushed_model": str(tmp_path)}}
    assert write_run_metrics(tmp_path / "metrics.json", artifacts) == {}
    (tmp_path / NOT_PUSHED).write_text("version 2 was rolled back\n")
    metrics = write_run_metrics(tmp_path / "metrics.json", artifacts)
    assert metrics == {"gate": {"not_pushed": "version 2 was rolled back"}}


def test_what_did_not_run_is_left_out(tmp_path):
    assert write_run_metrics(tmp_path / "metrics.json", {}) == {}
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_the_ranking_stage_has_metrics_and_a_gate_of_its_own(tmp_path):
    training = {"best": {"auc": 0.7, "candidates": 9.0}}
    (tmp_path / "training.json").write_text(json.dumps(training))
    report = {"blessed": False, "reasons": ["rank: late"], "latency_ms": {"p50": 1.5}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    artifacts = {
        "ranking-trainer": {"model_run": str(tmp_path)},
        "ranking-serving-validator": {"blessing": str(tmp_path)},
    }
    assert write_run_metrics(tmp_path / "metrics.json", artifacts) == {
        "ranking": {
            "validation": {"auc": 0.7, "candidates": 9.0},
            "serving": {"latency_ms_p50": 1.5},
            "gate": {"blessed": 0, "failures": ["serving: rank: late"]},
        }
    }


def test_metrics_that_are_not_defined_are_left_out(tmp_path):
    best = {"auc": 0.7, "gauc": float("nan"), "logloss": float("inf")}
    (tmp_path / "training.json").write_text(json.dumps({"best": best}))
    artifacts = {"ranking-trainer": {"model_run": str(tmp_path)}}
    metrics = write_run_metrics(tmp_path / "metrics.json", artifacts)
    assert metrics == {"ranking": {"validation": {"auc": 0.7}}}


def test_what_an_encoder_learned_and_where_it_is(tmp_path):
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "fingerprint.json").write_text('{"fingerprint": "0123", "model": {}}')
    (tmp_path / "training.json").write_text(json.dumps({"best": {"auc": 0.6, "note": "best"}}))
    made = {"image-feature-builder": {"features": str(tmp_path)}}
    trained = made | {"representation-trainer": {"model_run": str(tmp_path)}}
    features = {"fingerprint": "0123", "folder": str(tmp_path)}
    for artifacts, more in ((made, {}), (trained, {"validation": {"auc": 0.6}})):
        metrics = write_run_metrics(tmp_path / "metrics.json", artifacts)
        assert metrics == {"representation": {"features": features, **more}}
