"""Tests of GUIM, besides those over all towers (`tests/models/towers_test.py`)."""

import numpy as np
import pytest
import tensorflow as tf

from models.fixed_values import retrieval_trainer
from models.guim.model import GUIM
from models.guim.representations import similarity
from models.input import batch as b
from models.input import catalogue as c
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.mixture import Mixture
from models.layers.mixture import SoftBest
from models.layers.mixture import score_items
from tests.helpers import tower_oracles as oracle
from tests.helpers.gradients import assert_gradients
from tests.models.conftest import loss_section
from tests.models.sequence.small_model import COUNTS
from tests.models.sequence.small_model import TABLE
from tests.models.sequence.small_model import TITLES
from tests.models.sequence.small_model import windows

SIZES = VocabularySizes(entity=7, event_type=4, title_token=9, user_attribute=4)
# Oldest first, after the start; of the first user an event is hidden, the last has no history.
ENTITY = np.array([[0, 2, 0, 4, 3], [0, 4, 5, 0, 0], [0, 0, 0, 0, 0]])
HIDDEN = np.array([[0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
TARGET = np.array([[0, 0, 1, 0, 0], [4, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
FUTURE = np.array([[5, 1], [2, 0], [3, 4]])
TYPE = np.array([[0, 1, 0, 3, 1], [0, 2, 1, 0, 0], [0, 0, 0, 0, 0]])
SECOND = 1_000_000
AGE = np.array([[90, 90, 50, 9, 2], [30, 30, 5, 0, 0], [0, 0, 0, 0, 0]]) * SECOND
LENGTH = np.array([5, 3, 1])


def make(task=None, seen_types=(), **towers):
    config = retrieval_trainer(
        {
            "model": {
                "family": "guim",
                "dim": 8,
                "temperature": 0.3,
                "interests": 3,
                "future": 2,
                "normalize": True,
                "forwards": 0.0,
                "input": {"length": 6},
                "encoder": {"dropout": 0.0, "use_time": True, "blocks": 1},
                "candidate": {"id_dropout": 0.0},
                "loss": loss_section(**({"loss": "full"} | (task or {}))),
            }
            | towers
        }
    )
    tf.keras.utils.set_random_seed(0)
    model = GUIM(config, SIZES, TABLE, COUNTS, seen_types)
    model.embed_queries(request())
    for number, weight in enumerate(model.trainable_variables):  # nothing hides behind zeros
        if weight.shape.rank:
            weight.assign(tf.random.stateless_normal(weight.shape, [number, 2]) * 0.3)
    return model


def batch(**more):
    return {
        b.SEQUENCE_ENTITY: tf.constant(ENTITY, tf.int64),
        b.SEQUENCE_TYPE: tf.constant(TYPE, tf.int64),
        b.SEQUENCE_LENGTH: tf.constant(LENGTH, tf.int64),
        b.SEQUENCE_AGE: tf.constant(AGE, tf.int64),
        b.SEQUENCE_REQUEST_AGE: tf.constant(AGE, tf.int64),
        b.SEQUENCE_MASKED: tf.constant(HIDDEN),
        b.SEQUENCE_QUERY: tf.constant(TARGET > 0),
        b.SEQUENCE_TARGET: tf.constant(TARGET, tf.int64),
        b.SEQUENCE_FUTURE: tf.constant(FUTURE, tf.int64),
    } | more


def read_forwards():
    """`batch` with two histories read forwards: the second finds the next event at each place."""
    target = TARGET.copy()
    target[1] = [4, 5, 0, 0, 0]
    ages = np.array([[90, 90, 50, 9, 2], [30, 5, 0, 0, 0], [0, 0, 0, 0, 0]]) * SECOND
    return batch(
        **{
            b.SEQUENCE_FORWARDS: tf.constant([False, True, True]),
            b.SEQUENCE_QUERY: tf.constant(target > 0),
            b.SEQUENCE_TARGET: tf.constant(target, tf.int64),
            b.SEQUENCE_REQUEST_AGE: tf.constant(ages, tf.int64),
        }
    )


def request():
    """The histories of `batch` with nothing hidden: entity 1 is what was."""
    entity = [[3, 4, 1, 2], [5, 4, 0, 0], [0] * 4]
    ages = np.array([[2, 9, 50, 90], [5, 30, 0, 0], [0] * 4]) * SECOND
    types = np.array([[1, 3, 2, 1], [1, 2, 0, 0], [0] * 4])
    return windows(np.array(entity), [4, 2, 0], types, ages)


def shown():
    """`batch` with nothing hidden."""
    entity, types = ENTITY.copy(), TYPE.copy()
    entity[0, 2], types[0, 2] = 1, 2
    nothing = {
        b.SEQUENCE_ENTITY: tf.constant(entity, tf.int64),
        b.SEQUENCE_TYPE: tf.constant(types, tf.int64),
        b.SEQUENCE_MASKED: tf.zeros(HIDDEN.shape, tf.bool),
        b.SEQUENCE_QUERY: tf.zeros(HIDDEN.shape, tf.bool),
    }
    return batch(**nothing)


def items_of(model):
    return model.embed_items(tf.range(1, 6, dtype=tf.int64))


def cross_entropy(scores, labels):
    log_share = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return -log_share[np.arange(len(labels)), labels]


@pytest.mark.parametrize("forwards", [0.0, 0.5])
def test_a_user_is_a_mixture_of_what_the_tokens_become(forwards):
    model = make(forwards=forwards)
    found = model.embed_queries(request())

    assert isinstance(found, Mixture) and found.vectors.shape == (3, 3, 8)
    given = request()
    for row, length in enumerate([4, 2, 0]):
        entity, types, ages = (
            given[name][row, :length].numpy()[::-1]
            for name in (b.HISTORY_ENTITY, b.HISTORY_TYPE, b.HISTORY_AGE)
        )
        items = [of_history(model, one) for one in entity]
        tokens = oracle.representations(model, items, types.tolist(), ages.tolist(), [])
        expected = [oracle.query(model, token) for token in tokens]
        np.testing.assert_allclose(found.vectors[row], expected, rtol=1e-3, atol=1e-4)
        weight = oracle.softmax(tokens @ oracle.values(model.representations.weigh))
        np.testing.assert_allclose(np.exp(found.log_weight[row]), weight, rtol=1e-3)


def of_history(model, index):
    """By id, where training has it as a target, and title."""
    tower = model.candidate_tower
    bag = tower.features.bags["title"]
    row = index if COUNTS[index] else 0
    vector = oracle.values(tower.ids.table)[row] + oracle.bag(bag, TITLES[index].tolist())
    return oracle.unit(vector)


@pytest.mark.parametrize("score", ["mixture", "soft_best", "best"])
@pytest.mark.parametrize("seen_types", [(), None])
def test_the_next_events_are_found_by_what_a_request_gets(score, seen_types):
    model = make(score=score, diversity=0.0, seen_types=seen_types)
    loss = model.compute_loss(shown()).numpy()

    queries = model.embed_queries(request())
    assert isinstance(queries, Mixture) == (score == "mixture")
    if score == "soft_best":  # searched by the best
        queries = SoftBest(queries)
    scores = score_items(queries, items_of(model)).numpy()[[0, 0, 1, 2, 2]]
    labels = np.array([5, 1, 2, 3, 4]) - 1
    if seen_types is None:
        for row, seen in ((0, [2, 1, 4, 3]), (1, [2, 4, 3]), (2, [4, 5])):  # 1 is its own target
            scores[row, [one - 1 for one in seen]] = -np.inf
    assert loss == pytest.approx(cross_entropy(scores, labels).mean(), abs=1e-4)


@pytest.mark.parametrize("forwards", [0.0, 0.5])
def test_the_loss_by_hand(forwards):
    """Events that follow, hidden and next ones (all count alike), and unlike vectors."""
    model = make(masked_weight=0.7, diversity=0.2, forwards=forwards)
    given = read_forwards() if forwards else batch()
    loss = model.compute_loss(given).numpy()

    items = items_of(model).numpy()
    own, users = [], []
    tokens = oracle.values(model.representations.tokens)
    for row, length in enumerate(LENGTH):
        vectors = [of_history(model, one) for one in ENTITY[row, 1:length]]
        kinds, ages, requests = (
            [*given[name].numpy()[row, :length], 0, 0, 0]
            for name in (b.SEQUENCE_TYPE, b.SEQUENCE_AGE, b.SEQUENCE_REQUEST_AGE)
        )
        hidden = np.flatnonzero(HIDDEN[row]).tolist()
        is_forwards = bool(forwards) and row > 0
        read = (model, [*vectors, *tokens], kinds, ages, requests, hidden, [], is_forwards)
        every = oracle.encoded(*read)
        users.append(oracle.with_tokens(model, every[-3:], every[length - 1]))
        own += [every[place] for place in np.flatnonzero(given[b.SEQUENCE_QUERY][row])]
    users = np.array(users)
    scores = np.array([oracle.query(model, one) for one in own]) @ items.T
    found = np.array([1, 4, 5] if forwards else [1, 4])
    others = cross_entropy(scores, found - 1)

    products = np.array([[oracle.query(model, u) @ items.T for u in user] for user in users])
    weight = oracle.softmax(users @ oracle.values(model.representations.weigh))
    mixed = np.log((weight[:, :, None] * np.exp(products)).sum(axis=1))[[0, 0, 1, 2, 2]]
    following = cross_entropy(mixed, np.array([5, 1, 2, 3, 4]) - 1)
    if forwards:  # the first is read from both sides, as no request is
        following = following[2:]
    mean = (following.sum() + 0.7 * others.sum()) / (len(following) + 0.7 * len(others))

    unit = users / np.linalg.norm(users, axis=2, keepdims=True)
    cosines = [user[k] @ user[j] for user in unit for k in range(3) for j in range(3) if j != k]
    assert loss == pytest.approx(mean + 0.2 * np.mean(np.square(cosines)), abs=1e-4)


def test_similarity_of_vectors_at_right_angles_and_of_equal_ones():
    apart = tf.constant([[[3.0, 0.0], [0.0, 2.0]]])
    assert similarity(apart).numpy() == pytest.approx(0.0, abs=1e-6)
    assert similarity(tf.ones([2, 3, 4])).numpy() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("interests", [1, 3])
@pytest.mark.parametrize("score", ["mixture", "soft_best", "best"])
@pytest.mark.parametrize("forwards", [0.0, 0.5])
def test_gradients_reach_every_weight(interests, score, forwards):
    task = {"loss": "sampled", "queue": 9}
    model = make(task, interests=interests, score=score, forwards=forwards)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(read_forwards() if forwards else batch(), training=True)
    assert_gradients(tape, loss, model.trainable_variables, above=1e-7)


def test_one_token_is_no_mixture():
    one, several = make(interests=1), make()
    names, more = ([w.name for w in model.trainable_variables] for model in (one, several))

    assert one.embed_queries(request()).shape == (3, 8)
    assert len(set(more)) == len(more)  # a warm start tells weights by their names
    assert set(more) - set(names) == {several.representations.weigh.name}


def test_the_queue_holds_the_newest_targets_and_they_are_negatives():
    """Of equal parts of a batch, every negative counts as often as it is there."""
    task = {"loss": "sampled", "queue": 8, "negatives": 0, "in_batch": False}
    model = make(task | {"correct_sampling": False}, diversity=0.0)
    assert set(model.task.queue.numpy()) <= {1, 2, 3, 4, 5}  # drawn by the counts
    model.task.queue.assign([1, 1, 1, 2, 2, 4, 5, 5])
    loss = model.compute_loss(shown()).numpy()

    np.testing.assert_array_equal(model.task.queue, [5, 1, 2, 3, 4, 1, 1, 1])
    scores = score_items(model.embed_queries(request()), items_of(model)).numpy()
    scores = scores[[0, 0, 1, 2, 2]]
    labels = np.array([5, 1, 2, 3, 4]) - 1
    counts = np.repeat([[3, 2, 0, 1, 2]], 5, axis=0)
    counts[np.arange(5), labels] = 1
    own = scores[np.arange(5), labels]
    expected = (np.log((np.exp(scores) * counts).sum(axis=1)) - own).mean()
    assert loss == pytest.approx(expected, abs=1e-4)


def test_an_item_that_is_no_target_is_embedded_by_its_features_in_histories_too():
    model = make()
    features = {"title": tf.constant(TITLES[[6]]), c.ENTITY: tf.constant([0], tf.int64)}
    unknown = model.embed_features(features)

    np.testing.assert_allclose(model.embed_items(tf.constant([6], tf.int64)), unknown, atol=1e-6)
    vectors, _ = model.history_vectors(tf.constant([[6]], tf.int64))
    np.testing.assert_allclose(vectors, unknown, atol=1e-6)


@pytest.mark.parametrize("task", [{"loss": "full"}, {"loss": "sampled", "queue": 20}])
def test_it_learns(task):
    model = make(task, normalize=True, temperature=0.1)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
    losses = [float(model.train_step(batch())["loss"]) for _ in range(30)]

    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.parametrize(
    "towers",
    [
        {"tie_item_tables": False},
        {"objective": "next"},
        {"score": "mean"},
        {"encoder": {"block": "gru"}},
    ],
)
def test_impossible_values_are_errors(towers):
    with pytest.raises(ValueError):
        make(**towers)
