import numpy as np
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.input.timeline_files import held_in_memory

BYTES = 3 * 2 * 8 + 3  # of a batch


def counted(reads):
    """Three batches of three rows; `reads` grows by one for each that is made."""

    def generate():
        for number in range(3):
            reads.append(number)
            yield {"a": np.full([3, 2], number), "b": np.full([3], True)}

    shapes = {"a": tf.TensorSpec([3, 2], tf.int64), "b": tf.TensorSpec([3], tf.bool)}
    return tf.data.Dataset.from_generator(generate, output_signature=shapes)


def values(batches):
    return [int(batch["a"][0, 0]) for batch in batches]


def test_batches_that_fit_memory_are_read_once():
    reads = []
    batches = held_in_memory(counted(reads), most=3 * BYTES)
    assert values(batches) == values(batches) == [0, 1, 2] and reads == [0, 1, 2]


def test_batches_that_do_not_fit_are_read_in_each_iteration():
    reads = []
    batches = held_in_memory(counted(reads), most=3 * BYTES - 1)
    tried = len(reads)
    assert values(batches) == values(batches) == [0, 1, 2] and len(reads) == tried + 6
