"""Tiny towers: a real SavedModel with every signature that the Trainer exports.

An entity's vector is a sum of rows of a fixed random table, chosen by hashes
of its id, so that any id has a vector and nothing needs training. A query is
the recency-weighted mean of the history's vectors, a little of the request's
words and of the user's attributes, and a constant (so that an empty history
gets an answer).
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf

from transforms import features

_BUCKETS = 4096
_SALTS = ("a", "b", "c", "d")
_DAY = 86_400_000_000.0  # microseconds
_STRINGS = tf.TensorSpec([None], tf.string, name="examples")

QUERY_SIGNATURE = (
    tf.TensorSpec([None, None], tf.string, name="history_ids"),
    tf.TensorSpec([None, None], tf.string, name="history_events"),
    tf.TensorSpec([None, None], tf.int64, name="history_timestamps"),
    tf.TensorSpec([None], tf.int64, name="history_length"),
    tf.TensorSpec([None], tf.int64, name="request_time"),
    tf.TensorSpec([None], tf.string, name="query"),
    tf.TensorSpec([None, None], tf.string, name="user_attributes"),
    tf.TensorSpec([None], tf.int64, name="user_attributes_length"),
)


class TinyTowers(tf.Module):
    """Hashed towers whose embeddings are fixed by `seed`.

    Args:
        dim: d, the length of an embedding.
        interests: K; above 1, `embed_query` and `serving_default` return
            [B, K, d] (the history is dealt out to K interests in turn).
        seed: Of the table of vectors.
        weighted: Whether `weight` [B, K] is returned besides.
    """

    def __init__(
        self, dim: int = 16, interests: int = 1, seed: int = 0, weighted: bool = False
    ) -> None:
        super().__init__(name="tiny_towers")
        table = np.random.default_rng(seed).normal(size=(_BUCKETS, dim)).astype(np.float32)
        self.table = tf.Variable(table / dim**0.5, trainable=False, name="table")
        self.interests = interests
        self.weighted = weighted

    def vectors(self, names: tf.Tensor) -> tf.Tensor:
        """Embeds any strings: [...] string -> [..., d] float32."""
        parts = [
            tf.gather(self.table, tf.strings.to_hash_bucket_fast(salt + names, _BUCKETS))
            for salt in (tf.constant(one) for one in _SALTS)
        ]
        return tf.add_n(parts) / 2.0

    @tf.function(input_signature=QUERY_SIGNATURE, autograph=False)
    def embed_query(
        self,
        history_ids,
        history_events,
        history_timestamps,
        history_length,
        request_time,
        query,
        user_attributes,
        user_attributes_length,
    ):
        steps = tf.shape(history_ids)[1]
        valid = tf.sequence_mask(history_length, steps, dtype=tf.float32)  # [B, T]
        age = tf.cast(request_time[:, None] - history_timestamps, tf.float32) / _DAY
        weight = valid / (1.0 + tf.nn.relu(age))  # [B, T]
        weight *= 1.0 + 0.1 * tf.cast(tf.strings.length(history_events), tf.float32)
        deal = tf.one_hot(tf.range(steps) % self.interests, self.interests)  # [T, K]
        weight = weight[:, :, None] * deal[None]  # [B, T, K]
        share = tf.nn.softmax(tf.reduce_sum(weight, 1), axis=-1)  # [B, K]
        total = tf.einsum("btk,btd->bkd", weight, self.vectors(history_ids))
        mean = tf.math.divide_no_nan(total, tf.reduce_sum(weight, 1)[:, :, None])  # [B, K, d]
        known = tf.sequence_mask(
            user_attributes_length, tf.shape(user_attributes)[1], dtype=tf.float32
        )
        user = tf.einsum("ba,bad->bd", known, self.vectors(user_attributes))
        side = 0.1 * (user + self.vectors(query) + self.table[0])  # [B, d]
        embedding = mean + side[:, None, :]  # [B, K, d]
        more = {"weight": share} if self.weighted else {}
        return {"embedding": embedding if self.interests > 1 else embedding[:, 0], **more}

    @tf.function(input_signature=[_STRINGS], autograph=False)
    def serving_default(self, examples):
        parsed = self.transform_features(examples)
        history = parsed[features.EVENT_ENTITY]
        attributes = parsed[features.USER_ATTRIBUTES]
        return self.embed_query(
            history.to_tensor(""),
            parsed[features.EVENT_TYPE].to_tensor(""),
            parsed[features.EVENT_TIMESTAMP].to_tensor(0),
            history.row_lengths(),
            parsed[features.REQUEST_TIME],
            parsed[features.REQUEST_QUERY],
            attributes.to_tensor(""),
            attributes.row_lengths(),
        )

    @tf.function(input_signature=[_STRINGS], autograph=False)
    def embed_candidate(self, examples):
        spec = {features.CATALOGUE_ENTITY: tf.io.FixedLenFeature([], tf.string)}
        return {"embedding": self.vectors(tf.io.parse_example(examples, spec)["catalogue/entity"])}

    @tf.function(input_signature=[_STRINGS], autograph=False)
    def transform_features(self, examples):
        ragged = {
            features.EVENT_ENTITY: tf.string,
            features.EVENT_TYPE: tf.string,
            features.EVENT_TIMESTAMP: tf.int64,
            features.USER_ATTRIBUTES: tf.string,
        }
        spec = {
            name: tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
            for name, dtype in ragged.items()
        }
        spec[features.REQUEST_TIME] = tf.io.FixedLenFeature([], tf.int64, 0)
        spec[features.REQUEST_QUERY] = tf.io.FixedLenFeature([], tf.string, "")
        return tf.io.parse_example(examples, spec)


def save_towers(
    path: Path, dim: int = 16, interests: int = 1, seed: int = 0, weighted: bool = False
) -> TinyTowers:
    """Saves tiny towers as a SavedModel at `path` and returns them."""
    towers = TinyTowers(dim, interests, seed, weighted)
    signatures = {
        "serving_default": towers.serving_default,
        "embed_query": towers.embed_query,
        "embed_candidate": towers.embed_candidate,
        "transform_features": _dense_features(towers),
    }
    tf.saved_model.save(towers, str(path), signatures=signatures)
    return towers


def _dense_features(towers: TinyTowers):
    """Signatures return plain tensors: a ragged feature as `<name>.values` and `.row_splits`."""

    @tf.function(input_signature=[_STRINGS], autograph=False)
    def transform_features(examples):
        flat = {}
        for name, value in towers.transform_features(examples).items():
            if isinstance(value, tf.RaggedTensor):
                flat[name + ".values"] = value.values
                flat[name + ".row_splits"] = value.row_splits
            else:
                flat[name] = value
        return flat

    return transform_features
