"""Every tower against NumPy, and every input of it: a change is seen, and padding never is."""

import numpy as np
import pytest
import tensorflow as tf

from models.fixed_values import retrieval_trainer
from models.gmn.model import GMN
from models.guim.model import GUIM
from models.input import batch as b
from models.input import catalogue as c
from models.input.catalogue import CatalogueTable
from models.input.vocabulary_sizes import VocabularySizes
from models.sequence.model import SequenceModel
from models.two_tower.model import TwoTower
from tests.helpers import tower_oracles as oracle

SECOND = 1_000_000
DAY = 86_400 * SECOND
COUNTS = np.array([0, 5, 3, 2, 1, 4, 0, 0])  # entities 6 and 7 are no training targets
SIZES = VocabularySizes(
    entity=8, event_type=4, category=5, attribute=5, title_token=9, user_attribute=6, query_token=7
)
RNG = np.random.default_rng(3)
FEATURES = {
    "categories": np.array([[0, 0], [1, 0], [2, 4], [3, 0], [1, 2], [4, 0], [0, 0], [3, 1]]),
    "attributes": np.array([[0], [1], [0], [3], [4], [2], [1], [0]]),
    "title": np.array([[0, 0], [1, 0], [2, 0], [3, 1], [4, 0], [5, 8], [6, 2], [0, 0]]),
    c.PRICE_BUCKET: np.array([[0], [1], [2], [0], [3], [1], [2], [3]]),
    c.PRICE: np.array([[0, 0], [0.5, 1], [-1, 1], [0, 0], [2, 1], [0.25, 1], [-2, 1], [1, 1]]),
    "image_vector": RNG.normal(size=[8, 3]),
    "text_vector": RNG.normal(size=[8, 2]),
}
FEATURES = {
    name: table.astype(np.int32 if table.dtype == np.int64 else np.float32)
    for name, table in FEATURES.items()
}
KINDS = np.array([0, 0, 0, 0, 1, 0, 1, 1])  # of each entity
TABLE = CatalogueTable(np.arange(1, 8), np.array([b"item", b"video"])[KINDS[1:]], FEATURES)
# Requests, events newest first: item, type, age. The longest is longer than the newest items.
REQUESTS = [
    [(3, 1, 5 * SECOND), (1, 2, 9 * SECOND), (4, 3, DAY), (6, 1, 3 * DAY), (2, 2, 900 * DAY)],
    [(5, 2, 0), (7, 1, 70 * SECOND)],
    [],
]
ATTRIBUTES = [[1, 3, 0], [0, 0, 0], [5, 0, 0]]
WORDS = [[2, 6], [0, 0], [1, 0]]
TWO_TOWER = {"query": {"use_time": True, "use_query": True, "max_query_tokens": 2}}
ALL = {"use_time": True, "use_user_attributes": True}
GMN_QUERY = TWO_TOWER["query"] | {"neighbours": 3, "preferences": 2}
MODELS = {
    "two-tower": {"two_tower": TWO_TOWER},
    "two-tower tied": {
        "two_tower": TWO_TOWER
        | {"tie_item_tables": True, "normalize": True, "candidate": {"hidden_units": [4]}}
    },
    "attention": {"sequence": {"encoder": ALL, "tie_item_tables": False}},
    "absolute": {"sequence": {"encoder": ALL | {"positions": "absolute"}, "normalize": True}},
    "masked": {"sequence": {"encoder": ALL, "objective": "masked"}},
    "hstu": {"sequence": {"encoder": ALL | {"block": "hstu"}, "tie_item_tables": False}},
    "masked hstu": {"sequence": {"encoder": ALL | {"block": "hstu"}, "objective": "masked"}},
    "two-tower on sets": {"two_tower": {"query": TWO_TOWER["query"] | {"use_order": False}}},
    "gmn": {"gmn": {"query": GMN_QUERY}},
    "gmn on sets": {"gmn": {"query": GMN_QUERY | {"use_order": False}}},
    "gmn pooled": {"gmn": {"query": GMN_QUERY | {"node_level": False, "preference_level": False}}},
    "guim": {"guim": {"encoder": ALL, "interests": 1}},
    "gru": {"sequence": {"encoder": ALL | {"block": "gru"}}},
}
_MADE = {}


def make(name):
    """A model with every input, whose weights are all far from their initial values."""
    if name in _MADE:
        return _MADE[name]
    ((kind, given),) = MODELS[name].items()
    values = {"family": kind, "dim": 8, "temperature": 0.5} | given
    types = ["*"]
    if kind in ("two_tower", "gmn"):
        family, types = (TwoTower, types) if kind == "two_tower" else (GMN, ["item"])
        query = {"window": 6, "heads": 2, "last_items": 2, "content_dim": 4, "hidden_units": [8]}
        query |= {"max_user_attributes": 3, "dropout": 0.5, "item_dropout": 0.5}
        values["query"] = query | given.get("query", {})
    else:
        family = GUIM if kind == "guim" else SequenceModel
        encoder = {"dropout": 0.5, "event_dropout": 0.5, "max_user_attributes": 3}
        values["encoder"] = encoder | given.get("encoder", {})
        values["input"] = {"length": 6}
    tf.keras.utils.set_random_seed(0)
    config = retrieval_trainer({"model": values, "candidate_types": types})
    model = family(config, SIZES, TABLE, COUNTS)
    model.embed_queries(batch())
    model.embed_items(tf.constant([1], tf.int64))
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 2]) * 0.4)
    _MADE[name] = model
    return model


def batch(requests=REQUESTS, width=6, padding=(0, 0, 0), **more):
    """Windows by name, newest first."""
    rows = np.array([row + [padding] * (width - len(row)) for row in requests], np.int64)
    return {
        b.HISTORY_ENTITY: tf.constant(rows[:, :, 0]),
        b.HISTORY_TYPE: tf.constant(rows[:, :, 1]),
        b.HISTORY_AGE: tf.constant(rows[:, :, 2]),
        b.HISTORY_LENGTH: tf.constant([len(row) for row in requests], tf.int64),
        b.USER_ATTRIBUTES: tf.constant(ATTRIBUTES[: len(requests)], tf.int64),
        b.QUERY_TOKENS: tf.constant(WORDS[: len(requests)], tf.int64),
    } | more


def item(index):
    """The features of an item, as the oracle wants them."""
    row = {name: table[index].tolist() for name, table in FEATURES.items()}
    place = row.pop(c.PRICE_BUCKET)[0]
    return row | {c.PRICE: (row[c.PRICE][0], place)}


@pytest.mark.parametrize("name", MODELS)
def test_queries_equal_numpy(name):
    model = make(name)
    found = model.embed_queries(batch())

    for row, request in enumerate(REQUESTS):
        items = [oracle.of_history(model, event[0], item(event[0])) for event in request]
        types, ages = [event[1] for event in request], [event[2] for event in request]
        if isinstance(model, GMN):
            kinds = [KINDS[event[0]] for event in request]
            (expected,), _ = oracle.matching_query(
                model, items, types, ages, kinds, ATTRIBUTES[row], WORDS[row]
            )
        elif isinstance(model, TwoTower):
            expected = oracle.two_tower_query(
                model, items, types, ages, ATTRIBUTES[row], WORDS[row]
            )
        elif isinstance(model, GUIM):
            oldest_first = items[::-1], types[::-1], ages[::-1], ATTRIBUTES[row]
            (token,) = oracle.representations(model, *oldest_first)
            expected = oracle.query(model, token)
        else:
            expected = oracle.sequence_query(
                model, items[::-1], types[::-1], ages[::-1], ATTRIBUTES[row]
            )
        np.testing.assert_allclose(found[row], expected, rtol=2e-4, atol=2e-5, err_msg=str(row))


@pytest.mark.parametrize("name", ["two-tower", "two-tower tied"])
def test_candidates_equal_numpy(name):
    """By their id, and by their features as an item that no training knew is embedded."""
    model = make(name)
    ids = np.arange(1, 8)
    given = {name: tf.constant(table[ids]) for name, table in FEATURES.items()}

    expected = [oracle.candidate(model, index, item(index)) for index in ids]
    np.testing.assert_allclose(model.embed_items(tf.constant(ids)), expected, rtol=1e-4, atol=1e-5)
    found = model.embed_features(given | {c.ENTITY: tf.constant(ids)})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# What changes in the first request: name, place, value. Items 1 and 3 are of one category.
CHANGES = {
    "newest item": (b.HISTORY_ENTITY, 0, 5),
    "older item": (b.HISTORY_ENTITY, 3, 5),
    "newest type": (b.HISTORY_TYPE, 0, 3),
    "older type": (b.HISTORY_TYPE, 3, 3),
    "newest age": (b.HISTORY_AGE, 0, 2 * SECOND),
    "older age": (b.HISTORY_AGE, 3, 40 * DAY),
    "length": (b.HISTORY_LENGTH, None, 4),
    "user attribute": (b.USER_ATTRIBUTES, 1, 2),
    "query word": (b.QUERY_TOKENS, 1, 3),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", MODELS)
def test_every_input_of_a_query_is_read(name, change):
    model, (tensor, place, value) = make(name), CHANGES[change]
    if tensor == b.QUERY_TOKENS and not isinstance(model, TwoTower):
        pytest.skip("sequence models do not read the words of a query")
    given = batch()
    changed = given[tensor].numpy()
    changed[(0,) if place is None else (0, place)] = value
    before, after = (
        model.embed_queries(inputs).numpy() for inputs in (given, given | {tensor: changed})
    )

    assert np.abs(before[0] - after[0]).max() > 1e-4
    np.testing.assert_allclose(before[1:], after[1:], rtol=1e-4, atol=1e-5)  # of other rows


@pytest.mark.parametrize("name", MODELS)
def test_padding_of_a_request_is_never_read(name):
    """Neither what it holds, nor how much of it there is."""
    model = make(name)
    expected = model.embed_queries(batch())

    junk = batch(padding=(4, 2, 3 * DAY))
    np.testing.assert_allclose(model.embed_queries(junk), expected, atol=1e-5)
    alone = batch(REQUESTS[:1])  # no row is longer
    np.testing.assert_allclose(model.embed_queries(alone), expected[:1], rtol=1e-5, atol=1e-5)
    short = batch(REQUESTS[1:2]) | {
        key: batch()[key][1:2] for key in (b.USER_ATTRIBUTES, b.QUERY_TOKENS)
    }
    np.testing.assert_allclose(model.embed_queries(short), expected[1:2], atol=1e-5)


@pytest.mark.parametrize("name", ["two-tower", "attention"])
@pytest.mark.parametrize("feature", [c.ENTITY, *FEATURES])
def test_every_feature_of_a_candidate_is_read(name, feature):
    model = make(name)
    given = {key: table[[1]].copy() for key, table in FEATURES.items()} | {c.ENTITY: np.array([1])}
    other = given[feature].copy()
    other[(0,) if feature == c.ENTITY else (0, 0)] = 2
    if feature.endswith("_vector"):
        other = given[feature] * [[-1] + [1] * (other.shape[1] - 1)]  # another direction
    before, after = (
        model.embed_features({key: tf.constant(value) for key, value in inputs.items()})
        for inputs in (given, given | {feature: other.astype(given[feature].dtype)})
    )

    assert np.abs(before - after).max() > 1e-4


@pytest.mark.parametrize("feature", ["image_vector", "text_vector"])
def test_the_length_of_a_candidates_vector_does_not_count(feature):
    model = make("two-tower")
    given = {key: table[[1]] for key, table in FEATURES.items()} | {c.ENTITY: np.array([1])}
    longer = given | {feature: given[feature] * 7}

    before, after = (
        model.embed_features({key: tf.constant(value) for key, value in inputs.items()})
        for inputs in (given, longer)
    )
    np.testing.assert_allclose(before, after, atol=1e-5)
