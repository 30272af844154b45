"""The fit on features whose weights are planted."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest

from models.retrieval.catalogue_ranking import ranking_metrics
from serving.sources import features as f
from serving.sources import fitting
from serving.sources.config import FitConfig
from serving.sources.fitting import Examples
from serving.sources.fitting import choose
from serving.sources.fitting import fit
from tests.helpers.sources import weights_of

LIGHT = FitConfig(smoothing=0.1, shrinkage=0.01)


def metric(ranks, present):
    return ranking_metrics(ranks, present, (10,))


def planted(weights, count=3_000, candidates=30, seed=0, used=(f.TOWER, f.POPULARITY)):
    """Examples whose targets are drawn from the softmax of planted weights."""
    rng = np.random.default_rng(seed)
    features = np.zeros((count, candidates, len(f.FEATURES)), np.float32)
    for name in used:
        features[:, :, f.FEATURES.index(name)] = rng.normal(size=(count, candidates))
    bucket = rng.integers(0, len(f.BUCKETS), count).astype(np.int32)
    logits = np.einsum("euf,ef->eu", features, weights[bucket])
    gumbel = rng.gumbel(size=logits.shape)
    return Examples(
        features=features,
        real=np.ones((count, candidates), bool),
        sources=np.ones((count, candidates), np.int32),
        bucket=bucket,
        target=(logits + gumbel).argmax(axis=1).astype(np.int32)[:, None],
        present=np.ones((count, 1), bool),
        user=np.arange(count),
    )


def test_planted_weights_are_found():
    wanted = weights_of(tower=1.5, popularity=0.5)
    found = fit(planted(wanted), LIGHT)
    np.testing.assert_allclose(found, wanted, atol=0.25)
    assert (found[:, f.FEATURES.index(f.FRESHNESS)] == 0).all()  # which says nothing


def test_the_same_examples_give_the_same_weights():
    examples = planted(weights_of(tower=1.0, popularity=1.0), count=300)
    assert np.array_equal(fit(examples, FitConfig()), fit(examples, FitConfig()))


def test_more_of_a_source_never_lowers_a_score():
    against = weights_of(tower=-2.0, popularity=1.0, repeat_habit=-1.0)
    used = (f.TOWER, f.POPULARITY, f.REPEAT_HABIT)
    found = fit(planted(against, count=1_000, used=used), LIGHT)
    for column, name in enumerate(f.FEATURES):
        assert name not in f.MONOTONE or (found[:, column] >= 0).all(), name
    assert (found[:, f.FEATURES.index(f.REPEAT_HABIT)] < 0).all()  # which may


def test_a_bucket_without_examples_has_the_weights_of_all():
    examples = planted(weights_of(tower=1.0, popularity=1.0), count=2_000)
    found = fit(examples.where(examples.bucket > 0), FitConfig(smoothing=5.0, shrinkage=0.01))
    shared = found[1:].mean(axis=0)
    np.testing.assert_allclose(found[0], shared, atol=0.1)


def test_a_useless_source_costs_nothing():
    examples = planted(weights_of(popularity=3.0), used=(f.POPULARITY, f.TOWER))
    weights, report = choose(examples, FitConfig(), metric, "ndcg@10")
    for group, chosen in report["chosen"].items():
        table = report["validation"][group]
        assert table[chosen]["ndcg@10"] == max(one["ndcg@10"] for one in table.values())
        mine = examples.group == fitting.GROUPS.index(group)
        part = examples.where(mine)
        scores = np.einsum("euf,ef->eu", part.features, weights[part.bucket])
        got = metric(fitting.ranks(part, scores), part.present)["ndcg@10"]
        assert got >= table["popularity"]["ndcg@10"] - 0.01
        assert table["tower"]["ndcg@10"] < table["popularity"]["ndcg@10"]


def test_few_examples_that_mislead_leave_the_best_source():
    examples = planted(weights_of(tower=8.0), count=40, candidates=60)
    noise = np.random.default_rng(1).normal(size=examples.features.shape).astype(np.float32)
    tower = f.FEATURES.index(f.TOWER)
    noise[:, :, tower] = examples.features[:, :, tower]
    examples = dataclasses.replace(examples, features=noise)
    wild = FitConfig(smoothing=0.0, shrinkage=1e-6)
    weights, report = choose(examples, wild, metric, "ndcg@10")
    assert report["chosen"]["with_history"] == "tower"
    scale = weights[1:, tower]
    assert scale.min() > 1.0 and (scale == scale[0]).all()
    np.testing.assert_array_equal(weights[1:], scale[0] * fitting.alone()["tower"][1:])


def test_ranks_count_what_is_better_or_equal_and_earlier():
    examples = planted(weights_of(tower=1.0), count=2, candidates=4)
    examples = dataclasses.replace(
        examples,
        target=np.array([[2, -1], [0, 3]], np.int32),
        present=np.array([[True, True], [True, True]]),
    )
    scores = np.array([[1.0, 3.0, 1.0, -np.inf], [0.5, 2.0, 0.1, 0.5]])
    found = fitting.ranks(examples, scores)
    assert found[0, 0] == 2 and found[1].tolist() == [1, 2]
    assert found[0, 1] > 10_000  # which no source brought


def test_without_a_target_that_a_source_brought_the_tower_answers():
    examples = planted(weights_of(tower=1.0), count=5)
    examples = dataclasses.replace(examples, target=np.full((5, 1), -1, np.int32))
    assert np.array_equal(fit(examples, FitConfig()), fitting.alone()["tower"])
    _, report = choose(examples, FitConfig(), metric, "ndcg@10")
    assert report["recall"]["with_history"]["union"] == pytest.approx(0.0)


def test_several_targets_of_an_example_are_as_many_examples_of_one():
    one = planted(weights_of(tower=1.5, popularity=0.5), count=200)
    rng = np.random.default_rng(3)
    target = rng.integers(-1, 30, (200, 3)).astype(np.int32)
    target[:, 2] = target[:, 1]  # an item that is held out twice counts twice
    together = dataclasses.replace(one, target=target, present=target >= -1)
    parts = [dataclasses.replace(one, target=target[:, [i]]) for i in range(3)]
    apart = Examples(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in Examples.__dataclass_fields__
        )
    )
    np.testing.assert_allclose(fit(together, LIGHT), fit(apart, LIGHT), atol=2e-3)


def test_memory_does_not_grow_with_the_number_of_targets():
    one = planted(weights_of(tower=1.5), count=400)
    rng = np.random.default_rng(3)
    many = rng.integers(0, 30, (400, 40)).astype(np.int32)
    peaks = []
    for target in (one.target, many):
        examples = dataclasses.replace(one, target=target, present=target >= 0)
        tracemalloc.start()
        fit(examples, LIGHT)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


def test_a_group_without_examples_is_answered_by_the_tower():
    examples = planted(weights_of(tower=1.0, popularity=1.0), count=400)
    weights, report = choose(examples.where(examples.bucket > 0), FitConfig(), metric, "ndcg@10")
    assert report["chosen"] == {"without_history": "tower", "with_history": "joined"}
    np.testing.assert_array_equal(weights[0], fitting.alone()["tower"][0])
    assert (weights[1:] != fitting.alone()["tower"][1:]).any()


def test_users_of_one_half_alone_leave_the_best_single_source():
    examples = planted(weights_of(popularity=3.0), count=100)
    examples = dataclasses.replace(examples, user=2 * examples.user)
    weights, report = choose(examples, FitConfig(), metric, "ndcg@10")
    assert set(report["chosen"].values()) == {"popularity"}
    assert "joined" not in report["validation"]["with_history"]  # which nothing could measure
    # Its scores are the logits that the targets were drawn by.
    at = f.FEATURES.index(f.POPULARITY)
    np.testing.assert_allclose(weights[:, at], 3.0, atol=0.75)
    weights[:, at] = 1.0
    np.testing.assert_array_equal(weights, fitting.alone()["popularity"])


def test_the_scale_of_a_source_alone_is_that_of_its_logits():
    examples = planted(weights_of(tower=2.0))
    scores = examples.features[:, :, f.FEATURES.index(f.TOWER)]
    assert fitting.scale_of(examples, 100.0 * scores) == pytest.approx(0.02, rel=0.05)
    padded = dataclasses.replace(examples, real=examples.real.copy())
    padded.real[:, -1] = examples.target[:, 0] == 29  # padding but for targets
    scored = np.where(padded.real, scores, -np.inf)
    assert fitting.scale_of(padded, scored) == pytest.approx(2.0, rel=0.05)
    unanswered = dataclasses.replace(examples, target=np.full_like(examples.target, -1))
    assert fitting.scale_of(unanswered, scores) == 1.0
