"""Small SavedModels whose answers say which version gave them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf

from serving.client import protos
from serving.client.calls import predict_request
from serving.client.errors import Target

STRINGS, INTEGERS = [None, None], [None]
RECOMMEND_INPUTS = {
    "history_ids": tf.TensorSpec(STRINGS, tf.string, "history_ids"),
    "history_events": tf.TensorSpec(STRINGS, tf.string, "history_events"),
    "history_timestamps": tf.TensorSpec(STRINGS, tf.int64, "history_timestamps"),
    "history_length": tf.TensorSpec(INTEGERS, tf.int64, "history_length"),
    "exclude_ids": tf.TensorSpec(STRINGS, tf.string, "exclude_ids"),
    "exclude_length": tf.TensorSpec(INTEGERS, tf.int64, "exclude_length"),
    "request_time": tf.TensorSpec(INTEGERS, tf.int64, "request_time"),
    "query": tf.TensorSpec(INTEGERS, tf.string, "query"),
    "user_attributes": tf.TensorSpec(STRINGS, tf.string, "user_attributes"),
    "user_attributes_length": tf.TensorSpec(INTEGERS, tf.int64, "user_attributes_length"),
}
K = 5


class Tiny(tf.Module):
    """Signatures that need no training.

    `recommend`: the ids are `v<version>:<history length>:<rank>`, the scores
    version + history length - rank. `double` doubles floats, `scalar` has no
    batch dimension, `count` parses examples, `slow` works for a while, `flat`
    returns something that has not one row for each row.
    """

    def __init__(self, version: int) -> None:
        super().__init__()
        self.version = tf.Variable(version, trainable=False, dtype=tf.int64)

    @tf.function(input_signature=[RECOMMEND_INPUTS])
    def recommend(self, inputs):
        steps = tf.shape(inputs["history_ids"])[1]
        real = tf.sequence_mask(inputs["history_length"], steps)  # [B, T]
        length = tf.reduce_sum(tf.cast(real & (inputs["history_ids"] != ""), tf.int64), 1)
        rank = tf.range(K, dtype=tf.int64)
        parts = ["v", tf.strings.as_string(self.version), ":"]
        head = tf.strings.join([*parts, tf.strings.as_string(length), ":"])  # [B]
        ids = head[:, None] + tf.strings.as_string(rank)[None]  # [B, K]
        scores = tf.cast(self.version + length[:, None] - rank, tf.float32)
        return {"ids": ids, "scores": scores}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, "x")])
    def double(self, x):
        return {"y": 2.0 * x}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "x")])
    def scalar(self, x):
        return {"y": x + 1.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def count(self, examples):
        spec = {"id": tf.io.FixedLenFeature([], tf.string)}
        ids = tf.io.parse_example(examples, spec)["id"]
        return {"length": tf.strings.length(ids)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def slow(self, x):
        square = tf.random.stateless_uniform([300, 300], [1, 2])
        for _ in tf.range(60):
            square = tf.linalg.l2_normalize(square @ square)
        return {"y": x + 0.0 * square[0, 0]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def flat(self, x):
        return {"y": tf.repeat(x, 2), "version": self.version}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def crash(self, x):
        with tf.control_dependencies([tf.debugging.assert_positive(x, message="x <= 0")]):
            return {"y": tf.identity(x)}


def save_tiny(base: Path, version: int, warmup: Sequence[object] = ()) -> Path:
    """Saves a version aside, with its warm-up requests, and renames it; returns its path."""
    tiny = Tiny(version)
    names = ("recommend", "double", "scalar", "count", "slow", "flat", "crash")
    aside = base / f"writing-{version}"
    tf.saved_model.save(tiny, str(aside), signatures={n: getattr(tiny, n) for n in names})
    write_warmup(aside, warmup)
    target = base / str(version)
    aside.rename(target)
    return target


def write_warmup(path: Path, requests: Sequence[object]) -> None:
    """Writes recorded requests beside a SavedModel."""
    if not requests:
        return
    file = path / "assets.extra" / "tf_serving_warmup_requests"
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for request in requests:
            log = protos.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())


def request(signature: str, **inputs: object) -> object:
    """Returns a `PredictRequest` for the model `tiny`."""
    return predict_request(Target("", "tiny", signature=signature), inputs)
