"""The layers of long histories: target attention that searches, sign hashes, and pages in rows."""

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.layers.multi_head_target_attention import MultiHeadTargetAttention
from models.layers.page_layout import by_page
from models.layers.page_layout import of_candidates
from models.layers.page_layout import places
from models.layers.sign_hash import BucketPooling
from models.layers.sign_hash import SignHash

D, H = 8, 2
ROW = np.array([0, 0, 0, 2, 3], np.int64)  # page 1 has no candidate
MASK = np.array([[1, 1, 0, 1, 1, 1], [1] * 6, [1, 0, 0, 0, 0, 0], [0] * 6], np.float32)
GENERATOR = np.random.default_rng(4)
CANDIDATE = GENERATOR.normal(size=[5, D]).astype(np.float32)
EVENTS = GENERATOR.normal(size=[4, 6, D]).astype(np.float32)
VALUES = GENERATOR.normal(size=[4, 6, D]).astype(np.float32)
BIAS = GENERATOR.normal(size=[4, 6, H]).astype(np.float32)
LEAST = np.finfo(np.float32).min


def attend(layer, candidate, events, mask, row, values, bias, search=None):
    """Target attention of one candidate after the other, in NumPy."""
    w = {one.name.split("/")[-2]: one.numpy() for one in layer.weights}
    width, out = D // H, np.zeros_like(candidate)
    for i, page in enumerate(row):
        rank, heads = i - np.searchsorted(row, page), []
        for h in range(H):
            part = slice(h * width, (h + 1) * width)
            query = (candidate[i] @ w["query"])[part]
            odds = (events[page] @ w["key"])[:, part] @ query / np.sqrt(width) + bias[page, :, h]
            by = odds if search is None else search[page, h % search.shape[1], rank]
            there = np.flatnonzero((mask[page] > 0) & (by > LEAST))
            found = there[np.argsort(-by[there], kind="stable")][: layer.top_k]
            weight = np.exp(odds[found]) / max(np.exp(odds[found]).sum(), 1e-9)
            heads.append(weight @ (values[page] @ w["value"])[found][:, part])
        out[i] = np.concatenate(heads) @ w["output"]
    return out


@pytest.mark.parametrize("top_k", [1, 2, 5, 50])
def test_attention_over_the_best_events_of_each_head_equals_numpy(top_k):
    layer = MultiHeadTargetAttention(H, top_k)
    given = (CANDIDATE, EVENTS, MASK, ROW, VALUES, BIAS)
    out = layer(*given).numpy()

    np.testing.assert_allclose(out, attend(layer, *given), atol=1e-5)
    np.testing.assert_array_equal(out[4], 0.0)  # the page without events
    kept = np.where(MASK[:, :, None] > 0, EVENTS, 1e9).astype(np.float32)
    np.testing.assert_allclose(layer(CANDIDATE, kept, *given[2:]), out, atol=1e-5)
    plain = layer(CANDIDATE, EVENTS, MASK, ROW).numpy()
    expected = attend(layer, CANDIDATE, EVENTS, MASK, ROW, EVENTS, np.zeros_like(BIAS))
    np.testing.assert_allclose(plain, expected, atol=1e-5)


@pytest.mark.parametrize("heads", [1, H])
@pytest.mark.parametrize("top_k", [2, 6])
def test_the_search_may_be_by_other_scores_that_leave_events_out(heads, top_k):
    layer = MultiHeadTargetAttention(H, top_k)
    search = GENERATOR.normal(size=[4, heads, 3, 6]).astype(np.float32)
    search[0, :, 1] = LEAST  # nothing is found for the second candidate of the first page
    search[0, :, 0, 1:] = LEAST
    given = (CANDIDATE, EVENTS, MASK, ROW, VALUES, BIAS, search)
    out = layer(*given).numpy()

    np.testing.assert_allclose(out, attend(layer, *given), atol=1e-5)
    np.testing.assert_array_equal(out[1], 0.0)
    assert np.abs(out[0]).max() > 0


@pytest.mark.parametrize("candidates", [5, 40])
def test_attention_to_all_events_equals_that_to_as_many_as_there_are(candidates):
    few, layer = MultiHeadTargetAttention(H, top_k=2), MultiHeadTargetAttention(H, top_k=6)
    row = np.sort(np.arange(candidates) % 4)  # ten of a page have other ways to project
    asked = GENERATOR.normal(size=[candidates, D]).astype(np.float32)
    out = layer(asked, EVENTS, MASK, row, VALUES, BIAS).numpy()
    few(asked, EVENTS, MASK, row)
    few.set_weights(layer.get_weights())

    np.testing.assert_allclose(
        out, attend(layer, asked, EVENTS, MASK, row, VALUES, BIAS), atol=1e-5
    )
    whole = few(asked, EVENTS, MASK, row, VALUES, BIAS, whole=True)
    np.testing.assert_allclose(whole, out, atol=1e-6)


def test_scores_that_overflow_an_exponential_are_finite_and_have_finite_gradients():
    layer = MultiHeadTargetAttention(H, top_k=3)
    with tf.GradientTape() as tape:
        out = layer(CANDIDATE * 1e3, EVENTS * 1e3, MASK, ROW)
        loss = tf.reduce_mean(out)

    assert np.isfinite(out).all()
    assert all(np.isfinite(g).all() for g in tape.gradient(loss, layer.trainable_variables))


def test_every_projection_learns_and_what_is_not_found_has_no_gradient():
    layer = MultiHeadTargetAttention(H, top_k=2)
    events = tf.Variable(EVENTS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(CANDIDATE, events, MASK, ROW, bias=tf.constant(BIAS)) ** 2)
    *gradients, of_events = tape.gradient(loss, [*layer.trainable_variables, events])

    assert sorted(w.name.split("/")[-2] for w in layer.trainable_variables) == [
        "key",
        "output",
        "query",
        "value",
    ]
    assert all(np.abs(gradient).max() > 1e-6 for gradient in gradients)
    touched = np.abs(of_events).max(axis=2) > 0
    assert not touched[1].any() and not touched[MASK == 0].any()
    assert 0 < touched[0].sum() < MASK[0].sum() + 1


def test_candidates_that_have_the_projections_folded_in_score_events_alike():
    layer = MultiHeadTargetAttention(H, top_k=50)
    layer(CANDIDATE, EVENTS, MASK, ROW)
    w = {one.name.split("/")[-2]: one.numpy() for one in layer.weights}
    query = (CANDIDATE @ w["query"]).reshape(-1, H, D // H)
    key = (EVENTS[0] @ w["key"]).reshape(-1, H, D // H)
    expected = np.einsum("ihc,lhc->ihl", query, key) / np.sqrt(D // H)

    vectors = layer.search_vectors(tf.constant(CANDIDATE))
    np.testing.assert_allclose(vectors @ EVENTS[0].T, expected, atol=1e-5)


def test_heads_have_to_divide_the_dimension():
    with pytest.raises(ValueError, match="3 heads and 8 dimensions"):
        MultiHeadTargetAttention(3)(CANDIDATE, EVENTS, MASK, ROW)


LAYERS = [MultiHeadTargetAttention(H, 2), BucketPooling(4, 2, seed=3)]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_config_round_trip_and_saving_keep_every_weight(layer, tmp_path):
    given = (CANDIDATE, EVENTS, MASK, ROW)
    expected = layer(*given)
    copy = type(layer).from_config(layer.get_config())
    copy(*given)
    copy.set_weights([weight + 1.0 for weight in layer.get_weights()])  # nothing is as before
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(*given), expected)

    module = tf.Module()
    module.layer = layer
    specs = [tf.TensorSpec([None, *value.shape[1:]], tf.as_dtype(value.dtype)) for value in given]
    module.attend = tf.function(lambda *inputs: layer(*inputs)).get_concrete_function(*specs)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.attend(*map(tf.constant, given)), expected, rtol=1e-5)
    assert loaded.attend.variables and len(loaded.attend.variables) == len(layer.weights)


def test_candidates_go_into_rows_of_pages_and_back():
    place = places(tf.constant(ROW), tf.constant(4))
    padded = by_page(tf.constant(CANDIDATE), place, tf.constant(4))

    assert place.numpy().tolist() == [[0, 0], [0, 1], [0, 2], [2, 0], [3, 0]]
    assert padded.shape == (4, 3, D)
    np.testing.assert_array_equal(padded[1], 0.0)
    np.testing.assert_array_equal(of_candidates(padded, place), CANDIDATE)
    nothing = places(tf.zeros([0], tf.int64), tf.constant(2))
    empty = by_page(tf.zeros([0, D]), nothing, tf.constant(2))
    assert empty.shape == (2, 0, D) and of_candidates(empty, nothing).shape == (0, D)


def test_hashes_are_signs_and_compare_by_their_hamming_distance():
    layer = SignHash(16, seed=1)
    mine, theirs = layer(CANDIDATE).numpy(), layer(EVENTS).numpy()
    np.testing.assert_array_equal(mine, np.sign(CANDIDATE @ layer.directions.numpy()))

    found = layer.similarity(tf.constant(CANDIDATE), tf.constant(EVENTS), tf.constant(ROW))
    assert found.shape == (4, 1, 3, 6)
    distance = (mine[1] != theirs[0, 4]).sum()
    assert found[0, 0, 1, 4] == 16 - 2 * distance
    assert layer.trainable_variables == [] and len(layer.weights) == 1
    with tf.GradientTape() as tape:
        events = tf.Variable(EVENTS)
        loss = tf.reduce_sum(layer(events))
    assert tape.gradient(loss, events) is None


def test_near_vectors_have_near_hashes():
    layer = SignHash(512)
    angle = np.linspace(0.0, np.pi, 5)
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    codes = layer(vectors).numpy()

    differing = (codes != codes[0]).mean(axis=1)  # about angle / pi
    np.testing.assert_allclose(differing, angle / np.pi, atol=0.08)


def test_bucket_pooling_equals_numpy():
    layer = BucketPooling(rounds=3, width=2, seed=5)
    out = layer(CANDIDATE, EVENTS, MASK, ROW, VALUES).numpy()

    directions = layer.hash.directions.numpy().reshape(D, 3, 2)
    mine, theirs = (np.einsum("...d,drw->...rw", x, directions) >= 0 for x in (CANDIDATE, EVENTS))
    for i, page in enumerate(ROW):
        rounds = []
        for r in range(3):
            same = (theirs[page, :, r] == mine[i, r]).all(axis=1) & (MASK[page] > 0)
            rounds.append(VALUES[page][same].mean(axis=0) if same.any() else np.zeros(D))
        np.testing.assert_allclose(out[i], np.mean(rounds, axis=0), atol=1e-5)
    np.testing.assert_array_equal(out[4], 0.0)
