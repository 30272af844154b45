"""The whole pipeline on a small shop, with each model: what it measures and pushes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from serving.sources.combination import COMBINATION
from serving.sources.combination import SOURCES_DIR
from tests.end_to_end.conftest import Run
from tests.helpers.servables import CHECKS

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


def test_the_data_alone_was_cached_and_everything_measured(run: Run) -> None:
    assert set(run.cached) == run.cacheable  # nothing in the first run
    assert {"hr@10", "hr@50", "ndcg@10", "mrr@10", "coverage@10"} <= run.metrics["test"].keys()
    assert run.metrics["test"]["neighbours/hr@10"] > 0
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
    transform = tf.saved_model.load(str(run.towers)).signatures["transform_features"]
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
    assert json.loads((run.version / "servable.json").read_text())["backend"] == "exact"
    assert not [path for path in run.version.rglob("*") if path.suffix in (".pkl", ".pickle")]


def test_sources_are_joined_as_validation_says(run: Run) -> None:
    combination = json.loads(
        (run.artifact("source-combiner/combination") / COMBINATION).read_text()
    )
    for group, chosen in combination["chosen"].items():
        table = combination["validation"].get(group, {chosen: {combination["monitor"]: 0.0}})
        values = {name: metrics[combination["monitor"]] for name, metrics in table.items()}
        assert values[chosen] == max(values.values())
        recall = combination["recall"].get(group, {"union": 1.0})
        assert recall["union"] == max(recall.values())
    description = json.loads((run.version / "servable.json").read_text())
    joined = set(combination["chosen"].values()) != {"tower"}
    assert description["sources"][0] == "tower" and (len(description["sources"]) > 1) == joined
    assert (run.version / SOURCES_DIR / COMBINATION).is_file()


def test_the_candidate_was_asked_through_a_server(run: Run) -> None:
    report = json.loads(run.report.read_text())
    assert report["blessed"] and report["requests"] == 64
    assert {one["name"]: one["passed"] for one in report["checks"]} == dict.fromkeys(CHECKS, True)


def test_the_client_is_answered_from_what_was_pushed(run: Run, shop_log: Path) -> None:
    from serving.local_server.config import ModelConfig
    from serving.local_server.config import ServerConfig
    from serving.local_server.server import LocalServer
    from tfx_pipeline.commands.recommend import format_recommendations
    from tfx_pipeline.commands.recommend import recommend_for_user
    from tfx_pipeline.datasets.event_log import EventLog

    user = EventLog(shop_log).read("events", ["user_id"])["user_id"][0].as_py()
    base_path = Path(run.config.push_dir_of("retrieval"))
    model = ModelConfig(name="shop", base_path=base_path)
    with LocalServer(ServerConfig(models=(model,), port=0, rest_port=None)) as server:
        answer = recommend_for_user(
            user, 10, shop_log, base_path, address=server.address, model="shop"
        )
    assert len(answer.recommendations) == 10
    assert len({row.entity for row in answer.recommendations}) == 10
    assert all(row.entity.startswith("item:") for row in answer.recommendations)
    shown = answer.recommendations[0].title[:30]  # long titles are cut
    assert shown in format_recommendations(answer)


def test_nothing_was_packed_for_workers_of_this_machine(run: Run) -> None:
    log = Path(run.config.run_dir, "run.log").read_text(encoding="utf-8")
    assert "already includes dependency" in log
    assert "sdist" not in log
