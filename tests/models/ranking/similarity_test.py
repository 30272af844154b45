"""Cosines of candidates with the history, by hand, and in the models that read them."""

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

import models  # noqa: F401  (chooses Keras 2)
from models.config import RankingTrainerConfig
from models.families import find_family
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.page_batches import PageSpec
from models.ranking.model import windows_of
from models.ranking.similarity import similarity
from tests.models.ranking.model_test import ITEMS
from tests.models.ranking.model_test import READ
from tests.models.ranking.model_test import SIZES
from tests.models.ranking.model_test import TITLES
from tests.models.ranking.model_test import batch

NAME = "vector/look"
VECTORS = np.zeros([ITEMS + 1, 2], np.float32)
VECTORS[[1, 2, 5, 6]] = [[1, 0], [0, 3], [2, 0], [-1, 1]]  # of the others nothing is known


def make(family, **model):
    features = {"title": TITLES, NAME: VECTORS}
    types = np.array([b"item"] * ITEMS)
    table = CatalogueTable(np.arange(1, ITEMS + 1), types, features, compared=frozenset({NAME}))
    values = {"family": family, "similarity": [NAME]} | READ | model
    config = RankingTrainerConfig.model_validate({"model": values})
    tf.keras.utils.set_random_seed(0)
    pages = PageSpec(windows_of(config.model), config.label)
    made = find_family(family).load()(config, SIZES, table, np.arange(ITEMS + 1) > 0, pages)
    made.compute_loss(batch(**{b.LABEL: batch()[b.LABEL][:, :, :1]}))
    return made


def test_cosines_by_hand():
    model = make("din")
    found = similarity(model.features(batch()), model.features.items, NAME).numpy()
    half = np.sqrt(0.5)
    # Page 0 has the history 2, 1, 3, of which 3 has no vector, and the candidates 5, 6, 7;
    # page 1 a history of 4 alone; page 2 none.
    expected = [[0.5, 1.0], [0.0, half], [0, 0], [0, 0], [0, 0], [0, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("family", ["din", "pooled_mlp"])
def test_models_read_the_cosines_and_embed_no_vector(family):
    model = make(family)
    assert NAME not in model.features.items.features.vectors
    before = model.probabilities(batch()).numpy()
    table = model.features.items._tables[NAME]
    changed = VECTORS.copy()
    changed[1] = [-5, 0]  # an event of page 0
    table.assign(changed)
    assert np.abs(similarity(model.features(batch()), model.features.items, NAME)[0]).max() > 0.0
    difference = np.abs(model.probabilities(batch()).numpy() - before).max(axis=(1, 2))
    assert difference[0] > 1e-5
    np.testing.assert_allclose(difference[1:], 0.0, atol=1e-7)


def test_candidates_that_a_request_describes_are_compared():
    model = make("din")
    ids = tf.constant([5, 6, 7, 8, 1, 9], tf.int64)
    features = model.features.items.look_up(ids)
    known = model.probabilities(batch(), features)
    np.testing.assert_allclose(known, model.probabilities(batch()), atol=1e-6)
    other = features | {NAME: tf.tile([[0.0, -1.0]], [6, 1])}
    assert np.abs(model.probabilities(batch(), other) - known)[0].max() > 1e-5


@pytest.mark.parametrize(
    ("family", "names", "message"),
    [
        ("din", ["title"], "Only vectors are compared"),
        ("twin", [NAME], "`twin` does not"),
        ("sequence_ranker", [NAME], "`sequence_ranker` does not"),
    ],
)
def test_what_cannot_be_compared_is_refused(family, names, message):
    with pytest.raises(ValidationError, match=message):
        RankingTrainerConfig.model_validate({"model": {"family": family, "similarity": names}})
