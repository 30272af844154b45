"""A small sequence model, and batches that it takes, made by hand."""

import numpy as np
import tensorflow as tf

from models.fixed_values import retrieval_trainer
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.vocabulary_sizes import VocabularySizes
from models.sequence.model import SequenceModel
from tests.models.conftest import loss_section

COUNTS = np.array([0, 5, 3, 2, 1, 4, 0])  # entity 6 is no training target
TITLES = np.array([[0, 0], [1, 0], [2, 0], [3, 1], [4, 0], [5, 0], [6, 2]], np.int32)
TABLE = CatalogueTable(np.arange(1, 7), np.array([b"item"] * 6), {"title": TITLES})
# The start comes first; the last row is no user's first window, so its start has no query.
ENTITY = np.array([[0, 2, 1, 4, 3], [0, 4, 5, 0, 0], [0, 1, 3, 2, 0]])
TARGET = np.array([[2, 1, 4, 3, 0], [4, 5, 1, 0, 0], [0, 3, 2, 5, 0]])
TYPE = np.array([[0, 1, 2, 3, 1], [0, 2, 1, 0, 0], [0, 3, 2, 1, 0]])
# Seconds before the last request, of the events and of the requests that follow them.
AGE = np.array(
    [[90_000, 90_000, 89_995, 89_600, 81_000], [99, 99, 60, 0, 0], [400, 400, 399, 5, 0]]
)
REQUEST_AGE = np.array(
    [[90_000, 89_995, 89_600, 81_000, 0], [99, 60, 0, 0, 0], [400, 399, 5, 0, 0]]
)
AGE, REQUEST_AGE = AGE * 1_000_000, REQUEST_AGE * 1_000_000
LENGTH = np.array([5, 3, 4])


def make(task=None, seen_types=(), encoder=None, **sequence):
    config = retrieval_trainer(
        {
            "model": {
                "family": "sequence",
                "dim": 8,
                "input": {"length": 4},
                "encoder": encoder or {},
                "loss": loss_section(**({"loss": "full", "negatives": 6} | (task or {}))),
            }
            | sequence
        }
    )
    tf.keras.utils.set_random_seed(0)
    sizes = VocabularySizes(entity=7, event_type=4, title_token=9, user_attribute=4)
    model = SequenceModel(config, sizes, TABLE, COUNTS, seen_types)
    model.embed_queries(windows(np.array([[1, 2]]), [2]))
    model.embed_items(tf.constant([1], tf.int64))
    for weight in model.weights:  # biases start at 0; nothing may hide behind that
        if weight.dtype.is_floating and weight.shape.rank:
            weight.assign(tf.random.stateless_normal(weight.shape, [1, 2]) * 0.3)
    return model


def batch(entity=ENTITY, target=TARGET, **more):
    return {
        b.SEQUENCE_ENTITY: tf.constant(entity, tf.int64),
        b.SEQUENCE_TYPE: tf.constant(np.where(entity > 0, TYPE[: len(entity)], 0), tf.int64),
        b.SEQUENCE_LENGTH: tf.constant(LENGTH[: len(entity)], tf.int64),
        b.SEQUENCE_AGE: tf.constant(AGE[: len(entity)], tf.int64),
        b.SEQUENCE_REQUEST_AGE: tf.constant(REQUEST_AGE[: len(entity)], tf.int64),
        b.SEQUENCE_MASKED: tf.zeros(entity.shape, tf.bool),
        b.SEQUENCE_QUERY: tf.constant(target > 0),
        b.SEQUENCE_TARGET: tf.constant(target, tf.int64),
        b.USER_ATTRIBUTES: tf.constant([[1, 3, 0]] * len(entity), tf.int64),
    } | more


def windows(entity, lengths, types=None, ages=None):
    """Windows, newest first."""
    types = entity > 0 if types is None else types
    return {
        b.HISTORY_ENTITY: tf.constant(entity, tf.int64),
        b.HISTORY_TYPE: tf.cast(types, tf.int64),
        b.HISTORY_AGE: tf.constant(np.zeros(entity.shape) if ages is None else ages, tf.int64),
        b.HISTORY_LENGTH: tf.constant(lengths, tf.int64),
        b.USER_ATTRIBUTES: tf.constant([[1, 3, 0]] * len(entity), tf.int64),
    }
