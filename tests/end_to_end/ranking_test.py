"""The ranking stage on a small shop, behind the retrieval stage of the same run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.conftest import RANKED
from tests.end_to_end.conftest import Run
from tests.end_to_end.conftest import newest
from tests.end_to_end.conftest import overrides
from tests.end_to_end.conftest import pushed
from tfx_pipeline.commands.run import execute
from tfx_pipeline.config_file import load_config
from transforms import features as f

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.parametrize("run", ["shop_demo"], indirect=True),
]


def version_of(run: Run) -> Path:
    return Path(run.config.push_dir_of("ranking"), "1")


def test_both_stages_push_a_whole_version_of_their_own(run: Run) -> None:
    from serving.publishing.labels import read_labels
    from serving.publishing.publish import missing_files
    from serving.publishing.servable_file import read_servable

    for stage, directory, name in (
        ("retrieval", run.version, "shop"),
        ("ranking", version_of(run), "shop-ranking"),
    ):
        assert read_servable(directory).stage == stage
        assert missing_files(directory) == []
        labels = read_labels(directory.parent)
        assert labels and labels.model == name and dict(labels.versions) == {
            "stable": 1, "canary": 1
        }  # fmt: skip
        config = json.loads((directory / "config.json").read_text())
        assert config.keys() & {"retrieval", "ranking"} == {stage}
        assert (directory / "evaluation").is_dir()


def test_the_ranker_was_asked_through_a_server(run: Run) -> None:
    report = run.artifact("ranking-serving-validator/blessing") / "report.json"
    checks = json.loads(report.read_text())["checks"]
    assert {check["name"]: check["passed"] for check in checks} == dict.fromkeys(
        (
            "load",
            "warm_up",
            "answers",
            "rank",
            "merged",
            "serving_default",
            "candidate_rows",
            "latency",
        ),
        True,
    )


def test_the_metrics_are_those_of_what_was_pushed(run: Run) -> None:
    """Recomputes AUC by counting pairs, from the answers of the pushed SavedModel."""
    import tensorflow as tf

    examples = run.examples("test_pages")
    signature = tf.saved_model.load(str(version_of(run))).signatures["serving_default"]
    scores = signature(examples=tf.constant(examples))["scores"].numpy()
    given, clicked = [], []
    for example, row in zip(examples, scores, strict=True):
        labels = tf.train.Example.FromString(example).features.feature[f.LABEL_EVENTS]
        clicked += [value & 1 for value in labels.int64_list.value]
        given += row[: len(labels.int64_list.value)].tolist()
    score, label = np.array(given), np.array(clicked, bool)
    difference = score[label][:, None] - score[~label]  # [positives, negatives]
    auc = np.mean((difference > 0) + 0.5 * (difference == 0))
    assert run.metrics["ranking"]["test"]["auc"] == pytest.approx(auc, abs=1e-6)
    assert run.metrics["ranking"]["gate"]["blessed"] == int(auc > 0.5)
    assert run.metrics["ranking"]["validation"]["auc"] > 0
    assert run.metrics["ranking"]["test"]["candidates"] == len(score)


def test_every_stage_of_a_run_is_served(run: Run) -> None:
    from serving.client import RecommenderClient
    from serving.local_server.server import LocalServer
    from tfx_pipeline.commands.serve import server_config

    config = run.config
    models = {config.model_name(stage): Path(config.push_dir_of(stage)) for stage in config.stages}
    with LocalServer(server_config(models, {"port": 0}, ("rest_port=null",))) as server:
        with RecommenderClient(server.address, "shop", label="stable", timeout=60) as client:
            candidates = client.recommend(k=5).ids
        with RecommenderClient(server.address, "shop-ranking", timeout=60) as client:
            ranked = client.rank([], candidates)
    assert sorted(ranked.ids) == sorted(candidates) and len(candidates) == 5
    assert (np.diff(ranked.scores) <= 0).all()


def test_a_second_run_is_answered_from_the_cache(run: Run) -> None:
    metrics, _, cached = execute(run.config)
    assert len(cached) == 21  # retrieval's 16 components, ranking's 5
    assert metrics == run.metrics
    assert pushed(run.version.parent) == pushed(run.config.push_dir_of("ranking")) == ["1"]


@pytest.mark.nightly
def test_an_edit_of_the_ranking_stage_trains_nothing_else(run: Run, shop_log: Path) -> None:
    keys = overrides(shop_log, Path(run.config.run_dir))
    where = f"push_dir={run.version.parents[1]}"
    edited = load_config(run.name, (*keys, *RANKED, where, "ranking.trainer.seed=9"))
    metrics, _, cached = execute(edited)
    assert {name for name in cached if not name.startswith("ranking-")} == set(cached)
    assert len(cached) == 16
    assert metrics["test"] == run.metrics["test"]
    assert metrics["ranking"]["test"] != run.metrics["ranking"]["test"]
    assert pushed(run.version.parent) == ["1"]
    assert pushed(version_of(run).parent) == ["1", "2"]


@pytest.mark.nightly
def test_a_pretrained_ranker_is_pushed_and_ranks(run: Run, shop_log: Path) -> None:
    """SEMINAR after its pretraining: the second Trainer starts from the first one's model."""
    import tensorflow as tf

    from models.training.warm_start import read_weights

    keys = overrides(shop_log, Path(run.config.run_dir))
    model = "ranking.trainer.model={family: seminar, dim: 16, window: 50}"
    pretraining = "ranking.pretraining={epochs: 1, tensorboard: false}"
    given = (*keys, *RANKED, model, pretraining, "ranking.trainer.freeze=[projections]")
    where = f"push_dir={Path(run.config.run_dir) / 'pushed-pretrained'}"
    config = load_config(run.name, (*given, where, "ranking.evaluation.thresholds={}"))
    metrics, _, cached = execute(config)
    assert not {name for name in cached if name.startswith("ranking-")}
    assert metrics["ranking"]["test"]["candidates"] == run.metrics["ranking"]["test"]["candidates"]

    def projections(output: str) -> dict[str, np.ndarray]:
        weights = read_weights(str(newest(Path(config.run_dir), output) / "Format-Serving"))
        return {name: values for name, values in weights.items() if "projection" in name}

    before, after = projections("ranking-pretrainer/model"), projections("ranking-trainer/model")
    assert before and before.keys() <= after.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values, err_msg=name)
    version = Path(config.push_dir_of("ranking"), "1")
    examples = tf.constant(run.examples("test_pages")[:4])
    scores = tf.saved_model.load(str(version)).signatures["serving_default"](examples=examples)
    assert np.isfinite(scores["scores"]).all()
