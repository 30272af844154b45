"""Benchmarks of ranking: the truth's join with pages, controls, ways and what peers are given."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import cascade
from benchmarks import ranking_oracle
from benchmarks.ranking_models import CONTROL
from benchmarks.ranking_models import RANKERS
from benchmarks.ranking_models import add_ways
from benchmarks.ranking_movielens_1m import BENCHMARK as MOVIELENS
from benchmarks.ranking_run import exchange_histories
from benchmarks.ranking_run import is_same_ranking
from benchmarks.ranking_shop import BENCHMARK as SHOP
from benchmarks.ranking_speed import OVERRIDES
from benchmarks.ranking_speed import as_rows
from benchmarks.ranking_trivago import BENCHMARK as TRIVAGO
from benchmarks.results import Results
from models.input import batch as b
from tests.helpers.examples import example
from tfx_pipeline.datasets.registry import prepare
from tfx_pipeline.datasets.shop import utility
from tfx_pipeline.datasets.shop.truth import POSITIVE
from tfx_pipeline.datasets.shop.truth import Truth
from transforms import features as f


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    log = tmp_path_factory.mktemp("shop") / "log"
    prepare("shop", log, users=30, images=False)
    return log


def pages_of(truth: Truth) -> list[dict[str, Any]]:
    """Every page of the truth, as the features of a page example."""
    pages = []
    for kind in POSITIVE:
        seen = truth.impressions(kind)
        ids = getattr(truth.world, f"{kind}_id")
        for page, things, chosen in zip(seen.page, seen.things, seen.chosen, strict=True):
            there = things >= 0
            time = truth.pages["time"][page] + truth.config.start_time
            pages.append(
                {
                    f.USER_ID: str(truth.pages["user"][page] + 1),
                    f.REQUEST_TIME: int(time),
                    f.CANDIDATE_ENTITY: [f"{kind}:{ids[thing]}" for thing in things[there]],
                    f.LABEL_EVENTS: [int(one) * 3 for one in chosen[there]],
                }
            )
    return pages


def write(folder: Path, pages: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "part.gz"), "GZIP") as writer:
        for page in pages:
            writer.write(example(**page))
    return folder


def as_data(folder: Path) -> Any:
    kinds = {f.USER_ID: tf.string, f.REQUEST_TIME: tf.int64, f.LABEL_EVENTS: tf.int64}
    spec = {
        name: tf.io.RaggedFeature(kind, value_key=name, row_splits_dtype=tf.int64)
        for name, kind in kinds.items()
    }
    return SimpleNamespace(
        files=lambda split: [str(path) for path in folder.iterdir()],
        output=lambda: SimpleNamespace(transformed_feature_spec=lambda: spec),
    )


def test_the_truth_is_joined_with_pages_in_any_order(shop: Path, tmp_path: Path) -> None:
    truth = Truth(shop)
    pages = pages_of(truth)
    order = np.random.default_rng(0).permutation(len(pages))[: len(pages) // 2]
    chosen = [pages[index] for index in order]
    found = ranking_oracle.judge(as_data(write(tmp_path / "pages", chosen)), shop)

    assert found.label.size == sum(len(page[f.CANDIDATE_ENTITY]) for page in chosen)
    assert found.label.sum() == sum(np.sum(page[f.LABEL_EVENTS]) for page in chosen) / 3
    metrics = found.metrics()
    assert 0.7 < metrics["oracle"]["auc"] < 0.9
    assert metrics["oracle_without_position"]["auc"] < metrics["oracle"]["auc"]
    assert metrics["oracle"]["calibration"] == pytest.approx(1.0, abs=0.15)
    # The first page of items by hand: what is looked at is clicked by sigmoid(U - 2.8).
    seen = truth.impressions("item")
    parts = truth.parts("item", seen.page[:1], seen.things[:1])
    page = pages_of(truth)[0]
    one = ranking_oracle.judge(as_data(write(tmp_path / "one", [page])), shop)
    liking = 1 / (1 + np.exp(2.8 - utility.total(parts)[0]))
    np.testing.assert_allclose(one.liking, liking[: len(one.liking)])
    looks = 1 + 0.22 * np.arange(len(one.click))
    np.testing.assert_allclose(one.click, one.liking / looks)


def test_pages_of_another_log_are_refused(shop: Path, tmp_path: Path) -> None:
    page = pages_of(Truth(shop))[0]
    other = page | {f.REQUEST_TIME: page[f.REQUEST_TIME] + 1}
    with pytest.raises(ValueError, match="knows 0 of"):
        ranking_oracle.judge(as_data(write(tmp_path / "a", [other])), shop)
    wrong = page | {f.LABEL_EVENTS: [1 - min(1, one) for one in page[f.LABEL_EVENTS]]}
    with pytest.raises(ValueError, match="labels of the pages of items"):
        ranking_oracle.judge(as_data(write(tmp_path / "b", [wrong])), shop)


def test_the_control_exchanges_histories_and_nothing_else() -> None:
    number = tf.range(6, dtype=tf.int64)
    batch = {
        b.HISTORY_ENTITY: tf.stack([number, number * 10], axis=1),
        b.HISTORY_LENGTH: number,
        b.CANDIDATE_ENTITY: number[:, None],
        b.USER: number,
    }
    found = exchange_histories(batch)

    np.testing.assert_array_equal(found[b.HISTORY_LENGTH], [3, 4, 5, 0, 1, 2])
    np.testing.assert_array_equal(found[b.HISTORY_ENTITY][:, 1], [30, 40, 50, 0, 10, 20])
    for name in (b.CANDIDATE_ENTITY, b.USER):
        np.testing.assert_array_equal(found[name], batch[name])


@pytest.mark.parametrize("benchmark", [SHOP, TRIVAGO, MOVIELENS], ids=lambda one: one.name)
def test_every_family_is_trained_alike(benchmark: Any) -> None:
    configs = {row: benchmark.trainer_config(row) for row in (*RANKERS, CONTROL)}

    assert [config.model.family for config in configs.values()] == [*RANKERS, "din"]
    labels = {config.label.model_dump_json() for config in configs.values()}
    assert (
        len(labels) == 1
        and json.loads(labels.pop())["source"] == benchmark.timeline["label"]["source"]
    )
    assert configs[CONTROL] == configs["din"]
    assert len({config.input.batch_size for config in configs.values()}) == 1
    kept = configs["din"].model_dump(mode="json", exclude={"seed"})
    assert is_same_ranking(kept, kept) and not is_same_ranking(kept | {"epochs": 99}, kept)


def test_the_peer_is_given_what_ours_reads() -> None:
    model = SHOP.trainer_config("din", OVERRIDES).model
    assert model.candidate.features == ("categories",) and model.window == 50
    assert not (model.use_time or model.use_query or model.use_event_types or model.position_bias)

    entity = tf.constant([[5, 6, 0], [7, 0, 0]], tf.int64)
    rows = as_rows(
        {
            b.HISTORY_ENTITY: tf.constant([[1, 2], [3, 0]], tf.int64),
            b.HISTORY_LENGTH: tf.constant([2, 1], tf.int64),
            b.USER_ATTRIBUTES: tf.constant([[4], [0]], tf.int64),
            b.CANDIDATE_ENTITY: entity,
            b.CANDIDATE_LENGTH: tf.constant([2, 1], tf.int64),
            b.LABEL: tf.cast(entity == 6, tf.float32)[:, :, None],
        }
    )
    assert {name: values.tolist() for name, values in rows.items()} == {
        "history": [[1, 2], [3, 0]],
        "length": [2, 1],
        "attributes": [[4], [0]],
        "row": [0, 0, 1],
        "item": [5, 6, 7],
        "label": [0.0, 1.0, 0.0],
    }


def test_ways_lead_from_popularity_to_the_oracle(tmp_path: Path) -> None:
    results = Results("ways", "none", directory=tmp_path)
    for model, auc in (("popularity", 0.6), ("din", 0.7), ("oracle", 0.8)):
        results.measure({"model": model}, 0, lambda auc=auc: {"auc": auc})
    add_ways(results)

    ways = {row["model"]: row["way_to_oracle"] for row in results.rows()}
    assert ways == pytest.approx({"popularity": 0.0, "din": 0.5, "oracle": 1.0})


def test_orders_are_judged_by_the_truth(shop: Path, tmp_path: Path) -> None:
    truth = Truth(shop)
    write(tmp_path / "Split-test_pages", pages_of(truth))
    requests = cascade.read_requests(tmp_path, truth, 20)
    things = np.tile(np.arange(40), (20, 1))
    total = utility.total(truth.parts("item", requests.row, things))
    ids = truth.world.item_id[things].astype(str)

    best, worst = np.argsort(-total, axis=1)[:, :10], np.argsort(total, axis=1)[:, :10]
    good, bad, reverse = (
        cascade.judge(truth, requests, np.take_along_axis(ids, order, axis=1))
        for order in (best, worst, best[:, ::-1])
    )
    assert good["utility@10"] == pytest.approx(np.take_along_axis(total, best, axis=1).mean())
    p = 1 / (1 + np.exp(2.8 - np.take_along_axis(total, best, axis=1)))
    expected = (p / (1 + 0.22 * np.arange(10))).sum(axis=1).mean()
    assert good["expected_clicks@10"] == pytest.approx(expected)
    assert good["utility@10"] == pytest.approx(reverse["utility@10"])
    assert good["expected_clicks@10"] > reverse["expected_clicks@10"] > bad["expected_clicks@10"]


def test_a_page_asks_about_other_candidates() -> None:
    page = asked_page(["item:1", "item:2"])
    asked = tf.train.Example.FromString(cascade.with_candidates(page, np.array(["7", "8", "9"])))

    values = asked.features.feature[f.CANDIDATE_ENTITY].bytes_list.value
    assert list(values) == [b"item:7", b"item:8", b"item:9"]
    assert asked.features.feature[f.USER_ID].bytes_list.value[0] == b"1"
    assert len(page.features.feature[f.CANDIDATE_ENTITY].bytes_list.value) == 2


def asked_page(candidates: list[str], labels: list[int] | None = None) -> tf.train.Example:
    columns = {f.USER_ID: "1", f.CANDIDATE_ENTITY: candidates}
    return tf.train.Example.FromString(example(**columns, **{f.LABEL_EVENTS: labels or [0]}))


def model(output: str, values: list[list[float]]) -> SimpleNamespace:
    """A loaded SavedModel that answers each page of a batch from the front of a table."""

    def answer(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output: tf.constant(values[: len(examples)], tf.float32)}

    return SimpleNamespace(signatures={"serving_default": answer})


ITEMS = cascade.Items(np.array(["5", "6", "7"]), np.array([0, 10, 20]), [])
VECTORS = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])


def test_only_what_is_out_by_then_is_retrieved() -> None:
    towers = model("embedding", [[1.0, 0.0], [1.0, 0.0]])
    requests = cascade.Requests([asked_page([])] * 2, np.array([0, 1]), np.array([10, 20]))
    ids, scores = cascade.retrieve(towers, ITEMS, VECTORS, requests, 2)
    assert ids.tolist() == [["6", "5"], ["7", "6"]]
    assert scores.tolist() == [[2, 1], [3, 2]]


@pytest.mark.parametrize(("p", "weight"), [([0.5, 0.5, 0.5], 0.05), ([0.9, 0.1, 0.1], 0.0)])
def test_the_weight_is_the_first_of_those_that_order_pages_best(
    p: list[float], weight: float
) -> None:
    towers = model("embedding", [[1.0, 0.0]])
    labels = [0, 0, 1] if weight else [1, 0, 0]  # the retrieval is right, or the ranker is
    pages = [asked_page(["item:5", "item:6", "item:7"], labels)]
    ranker = model("scores", [p])
    assert cascade.choose_weight(towers, ranker, ITEMS, VECTORS, pages) == weight
