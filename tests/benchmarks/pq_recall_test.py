"""The measurement of recall, on few random items, and what it reads off a model."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import pq_recall
from benchmarks.learned_items import LearnedItems
from benchmarks.learned_items import read_off
from models.input.vocabulary_sizes import VocabularySizes
from tests.models.seminar import small_model

ITEMS, H, M, D = 30, 2, 2, 8
GENERATOR = np.random.default_rng(0)


@pytest.fixture(scope="module")
def learned():
    def draw(*shape):
        return GENERATOR.normal(size=shape).astype(np.float32)

    histories = np.stack([GENERATOR.permutation(ITEMS) + 1 for _ in range(6)])
    histories[0, 20:] = 0  # a shorter history
    given = draw(ITEMS + 1, M, D), draw(ITEMS + 1, H, M, D), draw(ITEMS + 1, H, 3)
    return LearnedItems(*given, GENERATOR.integers(1, ITEMS, 6), histories)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(pq_recall, "TOP_K", 5)
    monkeypatch.setattr(pq_recall, "USERS", 4)


def test_requests_have_the_longest_histories_without_padding(learned):
    found = list(pq_recall.requests(learned, candidates=3))
    assert [len(events) for events, _ in found] == [ITEMS] * 4
    np.testing.assert_array_equal([asked[0] for _, asked in found], learned.candidates[1:5])
    assert all((events > 0).all() and len(asked) == 3 for events, asked in found)


def test_recall_and_error_of_a_search_by_hand(learned):
    exact = pq_recall.exact_scores(learned)
    assert pq_recall.measure(learned, exact, 3) == {"recall": 1.0, "error": 0.0}

    def three_of_five(events, asked):
        scores = exact(events, asked)
        kept = np.sort(scores, axis=-1)[..., -3:-2]
        return np.where(scores >= kept, scores, np.finfo(np.float32).min)

    found = pq_recall.measure(learned, three_of_five)
    assert found["recall"] == pytest.approx(0.6) and 0.0 < found["error"] < 1.0
    events, asked = next(pq_recall.requests(learned, 1))
    weight = np.exp(exact(events, asked)[0, 0])
    best = np.argsort(-weight)[:5]
    value = learned.values[events[best], 0]
    expected = weight[best] @ value / weight[best].sum()
    index = best[None, None].repeat(H, axis=1)
    given = (exact(events, asked), index, index >= 0, learned.values[events])
    np.testing.assert_allclose(pq_recall._attend(*given)[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize("normalise", [True, False])
def test_what_is_read_off_a_model_scores_as_its_attention(normalise):
    features = {name: small_model.FEATURES[name] for name in ("categories", "title")}
    sizes = VocabularySizes(entity=small_model.ITEMS + 1, category=4, title_token=6)
    model = small_model.make(features, sizes, use_query=False, normalise=normalise)
    nobody = np.zeros([0], np.int64), np.zeros([0, 5], np.int64)
    learned = LearnedItems(**read_off(model), candidates=nobody[0], histories=nobody[1])
    asked, events = np.array([3, 0, 12]), np.array([1, 5, 2, 12, 0])
    scores = pq_recall.exact_scores(learned)(events, asked)  # [C, H, L]

    items = model.channels(model.channels.look_up(np.arange(small_model.ITEMS + 1))).numpy()
    compared = items
    if normalise:
        compared = items / np.sqrt(np.mean(items**2, axis=1, keepdims=True))
    layers = (model.attention.query, model.attention.key)
    query, key = ((compared @ one.kernel.numpy()).reshape(-1, 2, 4) for one in layers)
    expected = np.einsum("ihc,lhc->ihl", query[asked], key[events]) / 2.0
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    folded = model.attention.search_vectors(model.compared(tf.constant(items)))
    products = folded @ tf.transpose(model.compared(tf.constant(items[events])))
    np.testing.assert_allclose(scores, tf.gather(products, asked), atol=1e-4)
    values = (items @ model.attention.value.kernel.numpy()).reshape(-1, 2, 4)
    np.testing.assert_allclose(learned.values, values, atol=1e-5)


def test_searches_that_lose_nothing_find_everything(learned):
    for scores in (
        pq_recall.code_scores(learned, sub_vectors=4, centroids=32),
        pq_recall.cell_scores(learned, cells=4, events=ITEMS),
    ):
        assert pq_recall.measure(learned, scores, 2)["recall"] == 1.0
    few = pq_recall.cell_scores(learned, cells=4, events=10)
    assert 0.3 < pq_recall.measure(learned, few, 2)["recall"] < 1.0
    more, less = (pq_recall.measure(learned, pq_recall.hash_scores(learned, n)) for n in (4096, 8))
    assert more["recall"] > less["recall"]
