import numpy as np
import pytest
import tensorflow as tf

from models.fixed_values import retrieval_trainer
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.vocabulary_sizes import VocabularySizes
from models.two_tower.model import TwoTower
from tests.models.conftest import loss_section

COUNTS = np.array([0, 5, 3, 2, 1, 0, 0])  # entities 5 and 6 are no training targets
TITLES = np.array([[0, 0], [1, 0], [2, 0], [3, 1], [4, 0], [5, 0], [6, 2]], np.int32)
TABLE = CatalogueTable(np.arange(1, 7), np.array([b"item"] * 6), {"title": TITLES})


def make(loss="sampled", in_batch=True, seen_types=(), **towers):
    config = retrieval_trainer(
        {
            "model": {
                "dim": 8,
                "query": {"window": 4, "hidden_units": [8]},
                "loss": loss_section(loss, negatives=6, in_batch=in_batch),
            }
            | towers
        }
    )
    tf.keras.utils.set_random_seed(0)
    return TwoTower(config, VocabularySizes(entity=7, title_token=9), TABLE, COUNTS, seen_types)


def batch(**more):
    tensors = {
        b.HISTORY_ENTITY: tf.constant([[2, 1, 0, 0], [4, 0, 0, 0], [1, 3, 2, 5]], tf.int64),
        b.HISTORY_TYPE: tf.ones([3, 4], tf.int64),
        b.HISTORY_LENGTH: tf.constant([2, 1, 4], tf.int64),
        b.USER_ATTRIBUTES: tf.zeros([3, 16], tf.int64),
        b.TARGET_ENTITY: tf.constant([3, 1, 3], tf.int64),
    }
    return tensors | more


@pytest.mark.parametrize("in_batch", [True, False])
def test_loss_with_merged_negatives_equals_the_loss_with_each_apart(in_batch):
    model = make(in_batch=in_batch)
    sampled = tf.constant([1, 1, 4, 2, 1, 3], tf.int64)
    model.task.sampler.sample = lambda number, seed: sampled
    inputs = batch()
    loss = model.compute_loss(inputs)

    target = inputs[b.TARGET_ENTITY]
    ids = tf.concat([target, sampled], 0) if in_batch else sampled  # equals among them
    queries = model.embed_queries(inputs).numpy()
    own = (queries * model.embed_items(target).numpy()).sum(axis=1)
    scores = queries @ model.embed_items(ids).numpy().T
    scores -= model.task.sampler.log_expected_count(ids, tf.constant(3), 6).numpy()
    negatives = np.where(ids.numpy() == target.numpy()[:, None], 0.0, np.exp(scores))
    expected = np.log(np.exp(own) + negatives.sum(axis=1)) - own
    assert loss.numpy() == pytest.approx(expected.mean(), abs=1e-5)


def test_full_loss_is_over_the_trained_items():
    model = make(loss="full")
    inputs = batch()
    loss = model.compute_loss(inputs).numpy()

    trained = model.embed_items(tf.constant([1, 2, 3, 4], tf.int64)).numpy()
    scores = model.embed_queries(inputs).numpy() @ trained.T
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert loss == pytest.approx(-np.log(softmax[[0, 1, 2], [2, 0, 2]]).mean(), abs=1e-5)


@pytest.mark.parametrize("loss", ["full", "sampled"])
def test_items_of_the_own_history_are_no_negatives_where_seen_ones_are_excluded(loss):
    model = make(loss=loss)
    if loss == "sampled":
        model.task.sampler.sample = lambda number, seed: tf.constant([1, 2, 3, 4, 4, 4], tf.int64)
    seen = tf.constant([[1, 2, 3], [2, 3, 4], [4, 2, 1]], tf.int64)  # row 0 has seen its target
    with tf.GradientTape(persistent=True) as tape:
        loss = model.compute_loss(batch(**{b.SEEN_ENTITY: seen}))
    gradient = tf.convert_to_tensor(tape.gradient(loss, model.candidate_tower.ids.table)).numpy()

    # Row 1 has only its target left, row 2 the same, row 0 has item 4 as a negative.
    assert np.abs(gradient[2]).max() == 0.0 and np.abs(gradient[1]).max() == 0.0
    assert np.abs(gradient[3]).max() > 1e-4 and np.abs(gradient[4]).max() > 1e-4


def test_windows_follow_the_configuration():
    plain, excluding = make(), make(seen_types=None)

    assert plain.window_spec(True).seen == plain.window_spec(False).seen == 0
    assert excluding.window_spec(True).seen == 200 and excluding.window_spec(False).seen == -1
    assert make(seen_types=(2,)).window_spec(False).seen_types == (2,)


def test_items_outside_training_differ_by_their_features_alone():
    model = make()
    five, six = model.embed_items(tf.constant([5, 6], tf.int64)).numpy()
    like_six = model.embed_features({"entity": tf.constant([0]), "title": tf.constant(TITLES[6:])})

    assert np.abs(five - six).max() > 1e-3
    np.testing.assert_allclose(six, like_six[0], atol=1e-6)


def test_a_step_touches_the_rows_of_the_batch_only():
    model = make()
    model.task.sampler.sample = lambda number, seed: tf.constant([1, 1, 2, 2, 1, 1], tf.int64)
    touched = [
        (model.candidate_tower.ids, {0, 1, 2, 3}),
        (model.history_ids, {0, 1, 2, 3, 4, 5}),
        (model.candidate_tower.features.bags["title"], {1, 2, 3, 4, 5}),
    ]
    model.compute_loss(batch())  # creates the tables
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch(), training=True)
    gradients = tape.gradient(loss, [layer.table for layer, _ in touched])

    for gradient, (_, rows) in zip(gradients, touched, strict=True):
        assert isinstance(gradient, tf.IndexedSlices)
        assert set(gradient.indices.numpy()) <= rows


def test_an_untrained_item_adds_nothing_to_a_history_by_its_id():
    model = make(history_features=False)
    with_item = batch()
    changed = batch(
        **{b.HISTORY_ENTITY: tf.constant([[6, 1, 0, 0], [4, 0, 0, 0], [1, 3, 2, 5]], tf.int64)}
    )

    # Before training every id vector of the history is zero.
    np.testing.assert_array_equal(model.embed_queries(with_item), model.embed_queries(changed))


def test_temperature_and_normalisation_are_folded_into_the_embeddings():
    model = make(normalize=True, temperature=0.05)
    queries = model.embed_queries(batch()).numpy()
    items = model.embed_items(tf.constant([1, 5], tf.int64)).numpy()

    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 20.0, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(items, axis=1), 1.0, rtol=1e-5)


def test_event_types_are_read_where_there_are_several():
    config = retrieval_trainer({"model": {"dim": 8, "query": {"window": 4}}})
    tf.keras.utils.set_random_seed(0)
    model = TwoTower(config, VocabularySizes(entity=7, event_type=4, title_token=9), TABLE, COUNTS)
    other = batch(**{b.HISTORY_TYPE: tf.constant([[2, 1, 0, 0], [3, 0, 0, 0], [1, 1, 1, 1]])})

    assert np.abs(model.embed_queries(batch()) - model.embed_queries(other)).max() > 1e-4
