"""Benchmarks of image features: rows differ in what they say they differ in."""

import numpy as np
import pytest

from benchmarks.courier import BENCHMARK as SHOP
from benchmarks.courier import styles
from benchmarks.courier_features import declared
from benchmarks.courier_features import starting_from
from benchmarks.courier_features import write_vectors
from benchmarks.courier_hm import BENCHMARK as HM
from benchmarks.courier_hm import first_purchases
from benchmarks.courier_hm import photo_of
from benchmarks.courier_movielens_1m import BENCHMARK as MOVIELENS
from benchmarks.courier_table import USES
from benchmarks.courier_table import of_first_users
from benchmarks.ranking_movielens_1m import BENCHMARK as RANKING
from transforms.arrow import pa
from transforms.arrow import read_table

every_log = pytest.mark.parametrize(
    "benchmark", [SHOP, MOVIELENS, HM], ids=lambda one: one.name.removeprefix("courier_")
)


@every_log
def test_a_use_adds_one_way_to_read_a_source(benchmark):
    none = benchmark.trainer_config("none", "none")
    for use in USES:
        config = benchmark.trainer_config("courier", use)
        model = config.model
        added = set(model.candidate.features) - set(none.model.candidate.features)
        assert (
            added
            == {
                "vector": {"vector/courier"},
                "similarity": set(),
                "cluster_id": {"token/courier_cluster"},
            }[use]
        )
        assert model.similarity == (("vector/courier",) if use == "similarity" else ())
        same = {"candidate": none.model.candidate, "similarity": ()}
        assert model.model_copy(update=same) == none.model
        assert config.model_copy(update={"model": none.model}) == none


@every_log
def test_every_source_is_in_the_table(benchmark):
    every = benchmark.rows(("none", *benchmark.sources))
    read = len(benchmark.models) + (benchmark is SHOP)  # the truth is there alone
    assert every[0] == ("none", "none") and len(every) == len(set(every)) == 2 + read * len(USES)
    assert benchmark.rows(["hashing"]) == [("hashing", "cluster_id")]
    assert benchmark.section("simclr").trainer.model.objective == "simclr"


@every_log
def test_ranker_and_log_agree_on_what_is_told(benchmark):
    config = benchmark.pipeline("log", "run")
    ranker = benchmark.trainer_config("none", "none")
    assert ranker.label == config.timeline.label
    assert ranker.candidate_types == config.candidate_types
    for source in benchmark.models:
        assert benchmark.section(source).trainer.candidate_types == config.candidate_types
    one_candidate = config.timeline.label.width == 1
    negatives = benchmark.section("courier").trainer.model.negatives
    assert negatives == ("batch" if one_candidate else "page")  # else there would be none


@every_log
def test_courier_starts_from_the_frozen_backbone_of_simclr(benchmark):
    trainer = benchmark.section("courier_simclr").trainer
    of_views = benchmark.section("simclr").trainer.model.backbone
    assert trainer.model.objective == "courier" and trainer.model.backbone.frozen
    assert trainer.model.backbone.channels == of_views.channels
    started = starting_from(trainer, "a/folder").model
    assert started.backbone.weights == "a/folder"
    emptied = started.backbone.model_copy(update={"weights": ""})
    assert started.model_copy(update={"backbone": emptied}) == trainer.model


def test_movielens_has_the_click_model_of_its_ranking_benchmark():
    same = ("features", "id_dropout")
    own, theirs = MOVIELENS.trainer_config("none", "none"), RANKING.trainer_config("din")
    hidden = {name: getattr(theirs.model.candidate, name) for name in same}
    candidate = own.model.candidate.model_copy(update=hidden)
    assert own.model.model_copy(update={"candidate": candidate}) == theirs.model
    assert own.label == theirs.label
    shared = {"model": theirs.model, "candidate_types": theirs.candidate_types}
    assert own.model_copy(update=shared) == theirs


def test_what_is_written_is_declared(tmp_path):
    world = tmp_path / "truth" / "world"
    world.mkdir(parents=True)
    np.save(world / "item_id.npy", np.array([7, 8, 9]))
    np.save(world / "item_style.npy", np.array([[1.0, 0], [0, 2], [0, 1]]))
    write_vectors(tmp_path, "style", styles(tmp_path), SHOP.clusters)
    fields = declared(tmp_path, SHOP.sources)
    assert fields == {"vectors": {"style": 2}, "tokens": ["style_cluster"]}
    config = SHOP.pipeline(tmp_path, tmp_path / "run", fields).timeline.catalogue_fields
    assert config.names == ("style", "style_cluster")
    tokens = read_table(tmp_path / "features" / "style_cluster" / "part-0.parquet")
    found = tokens["tokens"].to_pylist()
    assert tokens["entity_id"].to_pylist() == ["7", "8", "9"] and found[1] == found[2] != found[0]


def test_several_pieces_of_an_article_are_one_purchase():
    rows = [("u", "1"), ("v", "1"), ("u", "2"), ("u", "1"), ("v", "1")]
    users, articles = zip(*rows, strict=True)
    events = pa.table({"user_id": users, "entity_id": articles, "ordinal": range(5)})
    assert first_purchases(events)["ordinal"].to_pylist() == [0, 1, 2]
    assert of_first_users(events, 1)["ordinal"].to_pylist() == [0, 2, 3]
    assert of_first_users(events, 0) is events
    assert photo_of("663713001") == photo_of("663713002") == "0663713"
