"""Tests of the factors of the graph of users and entities."""

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.gmn.graph_factors import edges_of
from models.gmn.graph_factors import graph_factors
from models.input.timeline_files import parsed_timelines
from models.input.timeline_files import timeline_records
from transforms import features as f

RNG = np.random.default_rng(5)


def random_graph(users=30, size=20, share=0.3):
    graph = RNG.random([users, size]) < share
    graph[:, 0] = graph[:, 7] = False  # the unknown entity, and one without edges
    return graph


@pytest.mark.parametrize("exponent", [0.25, 0.5])
def test_factors_equal_numpy(exponent):
    graph = random_graph()
    degrees = [np.maximum(graph.sum(axis=axis), 1) ** -exponent for axis in (1, 0)]
    _, _, vectors = np.linalg.svd(degrees[0][:, None] * graph * degrees[1])
    expected = vectors[:5].T
    users, entities = graph.nonzero()
    found = graph_factors(100 + users, entities, 20, 5, exponent)

    scale = found[:, 0].std() / expected[:, 0].std()
    np.testing.assert_allclose(np.abs(found), scale * np.abs(expected), atol=1e-4)
    assert np.sqrt(np.mean(np.square(found[graph.any(axis=0)]))) == pytest.approx(0.05, rel=1e-4)
    assert not found[[0, 7]].any() and found.dtype == np.float32
    assert (found[np.abs(found).argmax(axis=0), range(5)] > 0).all()


def test_an_edge_counts_once_in_whatever_order():
    users, entities = random_graph().nonzero()
    found = graph_factors(users, entities, 20, 4)
    order = RNG.permutation(np.repeat(np.arange(len(users)), 2))

    again = graph_factors(users[order], entities[order], 20, 4)
    np.testing.assert_allclose(again, found, atol=1e-5)


def test_entities_that_share_no_user_are_near_by_way_of_others():
    """1 and 3 are never together: 2 is with both, as 5 is with 4 and 6."""
    users = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    entities = np.array([1, 2, 2, 3, 4, 5, 5, 6])
    found = graph_factors(users, entities, 7, 2)

    near, far = found[1] @ found[3], found[1] @ found[6]
    assert near > 1e-4 and abs(far) < 0.01 * near


def test_a_graph_that_is_too_small_is_an_error():
    with pytest.raises(ValueError, match="has fewer than 5 factors. Choose `dim` below 3"):
        graph_factors(np.arange(3), np.array([1, 2, 3]), 9, 5)


def test_edges_are_the_events_of_known_entities(log):
    users, entities = edges_of(log.data)
    expected = []
    records = timeline_records(log.data.train_files)
    for timelines in parsed_timelines(records, log.data.spec, 7, (f.EVENT_ENTITY,)):
        expected += [row for row in timelines[f.EVENT_ENTITY].to_list()]

    assert len(users) and (entities > 0).all()
    for user, row in enumerate(expected):
        assert entities[users == user].tolist() == [entity for entity in row if entity]
    assert tf.reduce_max(users) < len(expected)
