"""A small SEMINAR, and a batch of pages that it takes, made by hand."""

import numpy as np
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.config import RankingTrainerConfig
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.page_batches import PageSpec
from models.input.vocabulary_sizes import VocabularySizes
from models.ranking.model import windows_of
from models.seminar.model import Seminar

ITEMS, D = 12, 8
GENERATOR = np.random.default_rng(2)
IMAGES = GENERATOR.normal(size=[ITEMS + 1, 3]).astype(np.float32)
TITLES = GENERATOR.integers(1, 6, [ITEMS + 1, 2]).astype(np.int32)
CATEGORIES = GENERATOR.integers(1, 4, [ITEMS + 1, 1]).astype(np.int32)
FEATURES = {"categories": CATEGORIES, "title": TITLES, "image_vector": IMAGES}
SIZES = VocabularySizes(
    entity=ITEMS + 1, event_type=4, category=4, title_token=6, query_token=7, user_attribute=2
)
HISTORY = np.array([[2, 1, 3, 12, 5], [4, 7, 0, 0, 0], [0] * 5])
WORDS = np.where(HISTORY[:, :, None] > 0, GENERATOR.integers(0, 3, [3, 5, 2]) * 2, 0)
BATCH = {
    b.HISTORY_ENTITY: tf.constant(HISTORY, tf.int64),
    b.HISTORY_TYPE: tf.constant(HISTORY % 4, tf.int64),
    b.HISTORY_LENGTH: tf.constant([5, 2, 0], tf.int64),
    b.HISTORY_AGE: tf.constant(HISTORY * 10**10, tf.int64),
    b.HISTORY_QUERY: tf.constant(WORDS, tf.int64),
    b.USER_ATTRIBUTES: tf.zeros([3, 1], tf.int64),
    b.QUERY_TOKENS: tf.constant([[1, 6], [0, 0], [2, 0]], tf.int64),
    b.REQUEST_TIME: tf.zeros([3], tf.int64),
    b.CANDIDATE_ENTITY: tf.constant([[5, 6, 7], [8, 1, 0], [9, 0, 0]], tf.int64),
    b.CANDIDATE_LENGTH: tf.constant([3, 2, 1], tf.int64),
    b.CANDIDATE_POSITION: tf.zeros([3, 3], tf.int64),
    b.LABEL: tf.constant([[[1.0], [0], [0]], [[0], [1], [0]], [[1], [0], [0]]]),
}


def build(features=FEATURES, sizes=SIZES, **model):
    """A model as it starts."""
    given = {"family": "seminar", "dim": D, "heads": 2, "window": 5, "top_k": 2}
    given |= {"use_repeats": False} | model
    config = RankingTrainerConfig.model_validate({"model": given})
    tf.keras.utils.set_random_seed(0)
    pages = PageSpec(windows_of(config.model), config.label)
    table = CatalogueTable(np.arange(1, ITEMS + 1), np.array([b"item"] * ITEMS), features)
    made = Seminar(config, sizes, table, np.arange(ITEMS + 1) > 0, pages)
    made.compute_loss(BATCH)
    return made


def make(*given, **model):
    """The same with weights that are drawn anew; nothing may hide behind zeros or ones."""
    made = build(*given, **model)
    for number, weight in enumerate(made.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 2]) * 0.4)
    return made


def compared_pairs(model, view):
    """The pairs of candidates and of events as the attention compares them."""
    parts = (model.target_parts(view), model.event_parts(view))
    return [model.pair(*one, model.compared) for one in parts]
