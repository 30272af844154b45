"""What a worker knows of the others, and what one alone does."""

import json

import numpy as np
import pytest
import tensorflow as tf

from models.training import replicas
from models.training.replicas import is_chief
from models.training.replicas import merge_rows
from models.training.replicas import share_of_mean
from models.training.replicas import worker_count

PAIR = {"worker": ["a:1", "b:1"]}
LED = {"chief": ["c:1"], "worker": ["a:1", "b:1"]}


@pytest.mark.parametrize(
    "config, workers, chief",
    [
        (None, 1, True),
        ({}, 1, True),
        ({"cluster": PAIR, "task": {"type": "worker", "index": 0}}, 2, True),
        ({"cluster": PAIR, "task": {"type": "worker", "index": 1}}, 2, False),
        ({"cluster": LED, "task": {"type": "chief", "index": 0}}, 3, True),
        ({"cluster": LED, "task": {"type": "worker", "index": 0}}, 3, False),
    ],
)
def test_one_of_the_workers_is_chief(monkeypatch, config, workers, chief):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))

    assert worker_count() == workers
    assert is_chief() is chief


def test_a_process_that_has_used_tensorflow_is_no_worker(monkeypatch):
    tf.zeros([1])
    config = {"cluster": PAIR, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(RuntimeError, match="trainer.workers"):
        replicas.training_strategy()


def test_one_worker_alone_adds_the_whole_mean():
    assert share_of_mean(tf.constant(3.0), tf.constant(5)) == 3.0


def test_replicas_without_rows_add_nothing(monkeypatch):
    class Two:
        def all_reduce(self, operation, value):
            return 2 * value

    monkeypatch.setattr(replicas, "_replica_context", Two)
    assert share_of_mean(tf.constant(0.0), tf.constant(0)) == 0.0
    assert share_of_mean(tf.constant(3.0), tf.constant(5)) == 1.5


def test_equal_rows_are_added_up():
    sparse = tf.IndexedSlices(
        tf.constant([[1.0, 0.0], [2.0, 3.0], [4.0, 0.5]]), tf.constant([7, 2, 7]), [9, 2]
    )
    dense = tf.constant([1.0])
    merged, same, none = merge_rows([sparse, dense, None])

    assert merged.indices.numpy().tolist() == [7, 2] and same is dense and none is None
    np.testing.assert_array_equal(merged.values, [[5.0, 0.5], [2.0, 3.0]])
    np.testing.assert_array_equal(tf.convert_to_tensor(merged), tf.convert_to_tensor(sparse))
