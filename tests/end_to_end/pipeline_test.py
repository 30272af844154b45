"""The whole pipeline on a small shop: what it measures, pushes, keeps and runs again."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.end_to_end.conftest import Run
from tests.end_to_end.conftest import overrides
from tests.end_to_end.conftest import versions
from tfx_pipeline.cli import cli
from tfx_pipeline.commands.run import REFUSED
from tfx_pipeline.commands.run import execute
from tfx_pipeline.config import load_config

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.fixture(scope="module")
def answers(run: Run) -> tuple[list[bytes], dict[str, np.ndarray]]:
    """The test timelines, and what the pushed `serving_default` answers to them."""
    import tensorflow as tf

    examples = run.examples("test")
    signature = tf.saved_model.load(str(run.version)).signatures["serving_default"]
    answer = signature(examples=tf.constant(examples))
    return examples, {name: value.numpy() for name, value in answer.items()}


def targets_of(example: bytes) -> list[bytes]:
    import tensorflow as tf

    feature = tf.train.Example.FromString(example).features.feature
    return list(feature["target/entity"].bytes_list.value)


def test_nothing_was_cached_and_everything_measured(run: Run) -> None:
    assert run.cached == ()
    assert {"hr@10", "hr@50", "ndcg@10", "mrr@10", "coverage@10"} <= run.metrics["test"].keys()
    assert run.metrics["validation"]["hr@10"] > 0
    assert run.metrics["index"]["recall@100"] >= 0.98


def test_tfma_equals_numpy(run: Run, answers: tuple[list[bytes], dict[str, np.ndarray]]) -> None:
    """Recomputes every headline figure from the answers and the labels."""
    examples, answer = answers
    hit, recall, ndcg, reciprocal = [], [], [], []
    for example, classes in zip(examples, answer["classes"], strict=True):
        targets = set(targets_of(example))
        ranks = [rank for rank, item in enumerate(classes, 1) if item in targets]
        top = [rank for rank in ranks if rank <= 10]
        ideal = sum(1 / np.log2(rank + 1) for rank in range(1, min(10, len(targets)) + 1))
        hit.append(bool(top))
        recall.append(len(top) / min(10, len(targets)))
        ndcg.append(sum(1 / np.log2(rank + 1) for rank in top) / ideal)
        reciprocal.append(1 / ranks[0] if ranks else 0.0)
    expected = {"hr@10": hit, "recall@10": recall, "ndcg@10": ndcg, "mrr@50": reciprocal}
    for name, values in expected.items():
        assert run.metrics["test"][name] == pytest.approx(np.mean(values), abs=1e-6), name
    assert run.metrics["test"]["users"] == len(examples)


def test_no_answer_depends_on_a_target(
    run: Run, answers: tuple[list[bytes], dict[str, np.ndarray]]
) -> None:
    import tensorflow as tf

    examples, before = answers
    altered = []
    for example in examples:
        message = tf.train.Example.FromString(example)
        feature = message.features.feature
        feature["target/entity"].bytes_list.value[:] = [b"item:nothing"]
        feature["target/type"].bytes_list.value[:] = [b"buy"]
        feature["target/timestamp"].int64_list.value[:] = [1]
        altered.append(message.SerializeToString())
    served = tf.saved_model.load(str(run.version)).signatures
    after = served["serving_default"](examples=tf.constant(altered))
    np.testing.assert_array_equal(after["classes"].numpy(), before["classes"])
    np.testing.assert_array_equal(after["scores"].numpy(), before["scores"])
    (towers,) = Path(run.config.run_dir, "artifacts").glob("trainer/model/*/Format-Serving")
    transform = tf.saved_model.load(str(towers)).signatures["transform_features"]
    clean, dirty = (transform(examples=tf.constant(given)) for given in (examples, altered))
    assert not [name for name in clean if name.startswith("target/")]
    for name in clean:
        np.testing.assert_array_equal(clean[name].numpy(), dirty[name].numpy(), err_msg=name)


def test_the_version_is_whole(run: Run) -> None:
    for name in (
        "saved_model.pb",
        "servable.json",
        "config.json",
        "index/candidates.parquet",
        "index/vectors.npy",
        "index/scann",
        "evaluation",
        "assets.extra/tf_serving_warmup_requests",
    ):
        assert (run.version / name).exists(), name
    assert json.loads((run.version / "servable.json").read_text())["form"] == "exact"
    assert not [path for path in run.version.rglob("*") if path.suffix in (".pkl", ".pickle")]


def test_the_candidate_was_asked_through_a_server(run: Run) -> None:
    artifacts = Path(run.config.run_dir, "artifacts", "serving-validator", "blessing")
    first = min(artifacts.glob("*/report.json"), key=lambda path: int(path.parent.name))
    report = json.loads(first.read_text())
    assert report["blessed"] and report["requests"] == 64
    assert {check["name"]: check["passed"] for check in report["checks"]} == dict.fromkeys(
        (
            "load",
            "warm_up",
            "answers",
            "recommend",
            "serving_default",
            "embed_query",
            "scores",
            "recall",
            "excluded",
            "seen",
            "latency",
        ),
        True,
    )


def test_a_second_run_is_answered_from_the_cache(run: Run) -> None:
    before = versions(run)
    metrics, _, cached = execute(run.config)
    assert len(cached) == 13
    assert metrics == run.metrics
    assert versions(run) == before


def test_a_changed_gate_runs_the_gate_again_and_refuses(run: Run, shop_log: Path) -> None:
    given = (
        *overrides(shop_log, Path(run.config.run_dir)),
        'evaluation.thresholds={"hr@10": 0.99}',
        "evaluation.min_users=1000",
    )
    config = load_config(run.name, given)
    before = versions(run)
    metrics, _, cached = execute(config)
    assert set(cached) == {
        "timeline-example-gen",
        "curated-schema-gen",
        "statistics-gen",
        "example-validator",
        "transform",
        "trainer",
        "index-builder",
        "index-validator",
        "servable-builder",
        "serving-validator",
        "latest-blessed",
    }
    assert metrics["gate"]["blessed"] == 0
    assert {failure.split()[0] for failure in metrics["gate"]["failures"]} == {"hr@10", "only"}
    assert versions(run) == before

    # The command says so with a return code of its own.
    arguments = [word for key in given for word in ("--set", key)]
    result = CliRunner().invoke(cli, ["run", run.name, *arguments])
    assert result.exit_code == REFUSED, result.output
    assert "NOT BLESSED" in result.output
    assert "evaluation.min_users: 1000 (was 100)" in result.output
    assert "vitrine serve" not in result.output


def test_the_client_is_answered_from_what_was_pushed(run: Run, shop_log: Path) -> None:
    from serving.local_server.config import ModelConfig
    from serving.local_server.config import ServerConfig
    from serving.local_server.server import LocalServer
    from tfx_pipeline.commands.recommend import format_recommendations
    from tfx_pipeline.commands.recommend import recommend_for_user
    from tfx_pipeline.datasets.event_log import EventLog

    user = EventLog(shop_log).read("events", ["user_id"])["user_id"][0].as_py()
    base_path = Path(run.config.serving_base_path)
    model = ModelConfig(name="shop", base_path=base_path)
    with LocalServer(ServerConfig(models=(model,), port=0, rest_port=None)) as server:
        answer = recommend_for_user(
            user, 10, shop_log, base_path, address=server.address, model="shop"
        )
    assert len(answer.recommendations) == 10
    assert len({row.entity for row in answer.recommendations}) == 10
    assert all(row.entity.startswith("item:") for row in answer.recommendations)
    assert answer.recommendations[0].title in format_recommendations(answer)


def test_the_cache_does_not_answer_for_a_push_directory_that_changed(
    run: Run, shop_log: Path, tmp_path: Path
) -> None:
    given = (*overrides(shop_log, Path(run.config.run_dir)), f"push_dir={tmp_path / 'pushed'}")
    one, other = load_config(run.name, given), load_config(run.name, (*given, "index.k=60"))

    def pushed() -> list[str]:
        return sorted(path.name for path in (tmp_path / "pushed").glob("[0-9]*"))

    execute(one)
    execute(other)
    assert pushed() == ["1", "2"]
    _, _, cached = execute(one)  # back to the first: it is compared with the second and pushed
    assert pushed() == ["1", "2", "3"]
    assert {"trainer", "servable-builder"} <= set(cached)
    assert not {"latest-blessed", "evaluator", "pusher"} & set(cached)
    _, _, cached = execute(one)
    assert len(cached) == 13
    shutil.rmtree(tmp_path / "pushed")
    execute(one)
    assert pushed() == ["1"]


def test_the_next_run_starts_from_the_last_blessed_model(run: Run, shop_log: Path) -> None:
    run_dir = Path(run.config.run_dir)
    given = (*overrides(shop_log, run_dir), "trainer.warm_start=true", "trainer.seed=5")
    log = run_dir / "run.log"
    before, seen = versions(run), len(log.read_text(encoding="utf-8"))
    metrics, _, cached = execute(load_config(run.name, given))

    assert "trainer" not in cached
    (taken,) = [
        line.rpartition("warm start: ")[2]
        for line in log.read_text(encoding="utf-8")[seen:].splitlines()
        if "warm start: {" in line
    ]
    counts = ast.literal_eval(taken)
    assert counts["left"] == 0 and counts["weights"] > 3 and counts["rows"] > 100
    assert metrics["gate"]["blessed"] == 1
    assert len(versions(run)) == len(before) + 1
