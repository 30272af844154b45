"""Tests of GMN, besides those over all towers (`tests/models/towers_test.py`)."""

import numpy as np
import pytest
import tensorflow as tf

from models.fixed_values import retrieval_trainer
from models.gmn.graph_factors import graph_factors
from models.gmn.model import GMN
from models.gmn.neighbourhoods import LENGTHS
from models.gmn.neighbourhoods import Neighbourhoods
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.mixture import Mixture
from models.training.warm_start import _vocabulary_of
from tests.helpers import tower_oracles as oracle
from tests.helpers.gradients import assert_gradients
from tests.models.conftest import loss_section
from transforms import names

COUNTS = np.array([0, 5, 3, 2, 1, 0, 0, 0, 0])  # entities 1 to 4 are videos, 5 to 8 items
KINDS = np.array([b"video"] * 4 + [b"item"] * 4)
RELATED = np.array([[0, 0], [5, 0], [6, 7], [8, 0], [5, 8], *[[0, 0]] * 4], np.int32)
TABLE = CatalogueTable(np.arange(1, 9), KINDS, {"related": RELATED})
SIZES = VocabularySizes(entity=9, event_type=4, user_attribute=4, query_token=4)
# Newest first; the third user has no event, the second none of a video.
ENTITY = np.array([[1, 5, 2, 6, 3, 7], [8, 5, 0, 0, 0, 0], [0] * 6, [4, 1, 1, 2, 6, 0]])
TYPE = np.array([[1, 2, 3, 3, 1, 2], [2, 3, 0, 0, 0, 0], [0] * 6, [1, 3, 1, 1, 2, 0]])
AGE = np.array([[3, 9, 20, 99, 600, 5_000]] * 4) * 1_000_000
LENGTH = np.array([6, 2, 0, 5])


def make(query=None, table=TABLE, types=("video",), **towers):
    options = {"window": 6, "neighbours": 3, "heads": 2, "last_items": 2, "content_dim": 4}
    options |= {"hidden_units": [8], "preferences": 2, "dropout": 0.0, "item_dropout": 0.0}
    options |= {"use_time": True, "use_query": True}
    values = {
        "family": "gmn",
        "dim": 8,
        "query": options | (query or {}),
        "candidate": {"features": ["related"], "id_dropout": 0.0},
        "loss": loss_section("sampled", negatives=6),
    }
    config = retrieval_trainer({"candidate_types": types, "model": values | towers})
    tf.keras.utils.set_random_seed(0)
    model = GMN(config, SIZES, table, COUNTS)
    model.compute_loss(batch())
    for number, weight in enumerate(model.trainable_variables):  # nothing hides behind zeros
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 2]) * 0.4)
    return model


def batch(rows=slice(None), **more):
    entity = ENTITY[rows]
    return {
        b.HISTORY_ENTITY: tf.constant(entity, tf.int64),
        b.HISTORY_TYPE: tf.constant(TYPE[rows], tf.int64),
        b.HISTORY_AGE: tf.constant(AGE[rows], tf.int64),
        b.HISTORY_LENGTH: tf.constant(LENGTH[rows], tf.int64),
        b.QUERY_TOKENS: tf.constant([[2, 0]] * len(entity), tf.int64),
        b.USER_ATTRIBUTES: tf.constant([[1, 3, 0]] * len(entity), tf.int64),
        b.TARGET_ENTITY: tf.constant(np.array([3, 1, 2, 4])[rows], tf.int64),
    } | more


def test_neighbourhoods_are_the_newest_of_each_kind():
    layer = Neighbourhoods(np.isin(np.arange(9), [1, 2, 3, 4]), 3)
    arranged = layer(batch())

    np.testing.assert_array_equal(
        arranged[b.HISTORY_ENTITY],
        [[1, 2, 3, 5, 6, 7], [0, 0, 0, 8, 5, 0], [0] * 6, [4, 1, 1, 6, 0, 0]],  # 2 is the fourth
    )
    np.testing.assert_array_equal(arranged[b.HISTORY_TYPE][0], [1, 3, 1, 2, 3, 2])
    seconds = arranged[b.HISTORY_AGE][0].numpy() // 1_000_000
    np.testing.assert_array_equal(seconds, [3, 20, 600, 9, 99, 5_000])
    np.testing.assert_array_equal(arranged[LENGTHS], [[3, 3], [0, 2], [0, 0], [3, 1]])
    items = layer.kind_of(arranged, 1)
    np.testing.assert_array_equal(items[b.HISTORY_ENTITY][3], [6, 0, 0])
    np.testing.assert_array_equal(items[b.HISTORY_LENGTH], [3, 2, 0, 1])


def test_neighbours_are_drawn_in_training_alone():
    layer = Neighbourhoods(np.arange(9) < 5, 2, sampled=True)
    window = batch(slice(3, 4))
    tf.keras.utils.set_random_seed(0)
    draws = {tuple(layer(window, training=True)[b.HISTORY_ENTITY].numpy()[0]) for _ in range(60)}

    assert {draw[2:] for draw in draws} == {(6, 0)}  # there is one item
    assert {frozenset(draw[:2]) for draw in draws} == {
        frozenset(pair) for pair in [(4, 1), (4, 2), (1, 1), (1, 2)]
    }
    np.testing.assert_array_equal(layer(window)[b.HISTORY_ENTITY][0], [4, 1, 6, 0])


def test_training_hides_a_share_of_the_neighbours():
    layer = Neighbourhoods(np.arange(9) < 5, 3, dropout=0.25)
    window = batch(slice(0, 1))
    tf.keras.utils.set_random_seed(0)
    draws = [layer(window, training=True) for _ in range(400)]

    assert np.mean([draw[LENGTHS] for draw in draws]) == pytest.approx(3 * 0.75, abs=0.1)
    for draw in draws:  # what stays is in its order, without gaps
        for kind, newest in enumerate([[1, 2, 3], [5, 6, 7]]):
            own = layer.kind_of(draw, kind)
            length = own[b.HISTORY_LENGTH][0]
            entity = own[b.HISTORY_ENTITY][0].numpy()
            assert not entity[length:].any()
            kept = entity[:length].tolist()
            assert kept == [one for one in newest if one in kept] and len(kept) == length
    np.testing.assert_array_equal(layer(window)[LENGTHS], [[3, 3]])


@pytest.mark.parametrize("use_order", [True, False])
def test_training_may_read_fewer_neighbours_than_requests(use_order):
    levels = {"node_level": False, "preference_level": False, "use_order": use_order}
    model = make({"training_neighbours": 2} | levels)
    fewer, all_of_them = (model.arrange(batch(), training=is_on) for is_on in (True, False))

    np.testing.assert_array_equal(
        fewer[b.HISTORY_ENTITY], [[1, 2, 5, 6], [0, 0, 8, 5], [0] * 4, [4, 1, 6, 0]]
    )
    np.testing.assert_array_equal(fewer[LENGTHS], [[2, 2], [0, 2], [0, 0], [2, 1]])
    assert all_of_them[b.HISTORY_ENTITY].shape == (4, 6)
    # Nothing is dropped out here, so that only rows with more neighbours differ.
    short = batch() | {b.HISTORY_LENGTH: tf.constant([4, 2, 0, 2], tf.int64)}
    rows = [model.compute_loss(short, training=is_on).numpy() for is_on in (True, False)]
    assert rows[0] == pytest.approx(rows[1], rel=1e-5)
    whole = [model.compute_loss(batch(), training=is_on).numpy() for is_on in (True, False)]
    assert abs(whole[0] - whole[1]) > 1e-4


def test_a_user_of_a_log_without_order_is_a_set():
    model = make({"use_order": False, "use_time": False})
    turned = {
        b.HISTORY_ENTITY: tf.constant([[3, 7, 2, 6, 1, 5]], tf.int64),
        b.HISTORY_TYPE: tf.constant([[1, 2, 3, 3, 1, 2]], tf.int64),
    }
    one = batch(slice(0, 1))
    found = model.embed_queries(one | turned)
    np.testing.assert_allclose(found, model.embed_queries(one), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("iterations", [0, 3])
def test_several_vectors_are_a_mixture_of_matched_preferences(iterations):
    model = make({"vectors": "several", "sinkhorn_iterations": iterations})
    found = model.embed_queries(batch())

    assert isinstance(found, Mixture) and found.vectors.shape == (4, 2, 8)
    for row, length in enumerate(LENGTH):
        entities = ENTITY[row, :length]
        tables = model.candidate_tower, model.history_ids
        items = [_of_history(*tables, model.history_map, entity) for entity in entities]
        vectors, weight = oracle.matching_query(
            model,
            items,
            TYPE[row, :length].tolist(),
            AGE[row, :length].tolist(),
            [int(entity > 4) for entity in entities],
            [1, 3, 0],
            [2, 0],
        )
        np.testing.assert_allclose(found.vectors[row], vectors, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(np.exp(found.log_weight[row]), weight, rtol=1e-3)


def _of_history(tower, table, mapped, entity):
    link = tower.features.bags["related"]
    own = oracle.values(table.table)[entity] + oracle.values(link.table)[entity]
    return own + oracle.bag(link, RELATED[entity]) @ oracle.values(mapped.kernel)


def test_a_level_that_is_off_has_no_weights():
    def parts(**levels):
        found = {w.name.split("/")[1] for w in make(levels).query_tower.trainable_variables}
        return found & {"match_nodes", "match_preferences", "extract_0", "extract_1", "attend"}

    preferences = {"match_preferences", "extract_0", "extract_1", "attend"}
    assert parts() == preferences | {"match_nodes"}
    assert parts(node_level=False) == preferences
    assert parts(preference_level=False) == {"match_nodes"}
    assert parts(node_level=False, preference_level=False) == set()


@pytest.mark.parametrize("vectors", ["one", "several"])
def test_gradients_reach_every_weight(vectors):
    model = make({"vectors": vectors})
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch(), training=True)
    assert_gradients(tape, loss, model.trainable_variables, above=1e-7)


def test_every_weight_has_a_name_of_its_own():
    found = [weight.name for weight in make().trainable_variables]  # a warm start tells by them

    assert len(found) == len(set(found))


def test_a_warm_start_finds_the_tables_whose_rows_are_entities():
    tables = [w.name for w in make().trainable_variables if w.shape == (SIZES.entity, 8)]

    assert len(tables) == 3
    found = {_vocabulary_of(name.partition(":")[0]) for name in tables}
    assert found == {names.ENTITY}


def test_one_kind_is_read_through_the_other():
    """Without matching, what items change in a user adds up with what videos change."""
    rows = {(video, item): [video, item, 0, 0, 0, 0] for video in (1, 2) for item in (5, 6)}
    windows = batch(
        **{
            b.HISTORY_ENTITY: tf.constant(list(rows.values()), tf.int64),
            b.HISTORY_TYPE: tf.constant([[1, 2, 0, 0, 0, 0]] * 4, tf.int64),
            b.HISTORY_LENGTH: tf.constant([2] * 4, tf.int64),
        }
    )

    def interaction(**levels):
        model = make({"hidden_units": []} | levels)
        one, two, three, four = model.embed_queries(windows).numpy()
        return np.abs(one - two - three + four).max()

    assert interaction(node_level=False, preference_level=False) < 1e-5
    assert interaction(preference_level=False) > 1e-3
    assert interaction(node_level=False) > 1e-3


def test_the_items_that_a_video_shows_are_read():
    model = make()
    ids = tf.constant([1, 2, 3, 4], tf.int64)
    before = model.embed_items(ids).numpy()
    table = model.candidate_tower.features.bags["related"].table
    table.assign(tf.tensor_scatter_nd_add(table, [[8]], [tf.ones([8])]))

    changed = np.abs(model.embed_items(ids).numpy() - before).max(axis=1)
    assert changed[0] == changed[1] == 0.0 and changed[2] > 0.5 and changed[3] > 0.5
    # In a history the item has the vector that it gives to the videos that show it.
    with_link, position = model.history_vectors(tf.constant([[8, 7]], tf.int64))
    table.assign(tf.tensor_scatter_nd_add(table, [[8]], [tf.ones([8])]))
    moved = model.history_vectors(tf.constant([[8, 7]], tf.int64))[0] - with_link
    np.testing.assert_allclose(
        moved.numpy()[position.numpy()[0]], [[1.0] * 8, [0.0] * 8], atol=1e-6
    )


def test_tables_start_as_factors_of_the_graph():
    users = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 7, 8, 8])
    entities = np.array([1, 5, 1, 6, 2, 5, 2, 6, 3, 7, 4, 7, 8, 4, 8, 3, 1])
    model = make({"content_dim": 2}, dim=4, normalize=False)
    before = [weight.name for weight in model.trainable_variables]
    query = model.query_tower.trainable_variables[0].numpy()
    model.start_from_graph(users, entities)

    tower = model.candidate_tower
    tables = (tower.ids.table, model.history_ids.table, tower.features.bags["related"].table)
    expected = graph_factors(users, entities, 9, 4)
    for table in tables:
        np.testing.assert_allclose(table, expected, atol=1e-5)
    assert [weight.name for weight in model.trainable_variables] == before
    np.testing.assert_array_equal(model.query_tower.trainable_variables[0], query)


def test_one_kind_alone_is_an_error():
    with pytest.raises(ValueError, match="of which the catalogue has none"):
        make(types=("*",))


@pytest.mark.parametrize(
    "query",
    [
        {"window": 2},
        {"neighbours": 1},
        {"vectors": "several", "preference_level": False},
        {"draw": "oldest"},
        {"neighbour_dropout": 1.0},
        {"training_neighbours": 4},
        {"training_neighbours": 1},
    ],
)
def test_impossible_values_are_errors(query):
    with pytest.raises(ValueError):
        make(query)
