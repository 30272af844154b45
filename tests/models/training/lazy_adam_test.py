import numpy as np
import tensorflow as tf

import models  # noqa: F401
from models.training.lazy_adam import LazyAdam


def slices(rows, values):
    return tf.IndexedSlices(
        tf.constant(values, tf.float32), tf.constant(rows, tf.int64), tf.constant([4, 2])
    )


def table():
    return tf.Variable(np.arange(8, dtype=np.float32).reshape(4, 2))


def test_equals_adam_on_rows_that_every_step_touches():
    lazy, eager = table(), table()
    ours = LazyAdam(0.1, jit_compile=False)
    theirs = tf.keras.optimizers.Adam(0.1, jit_compile=False)
    for step in range(5):
        values = np.sin(np.arange(4).reshape(2, 2) + step)
        ours.apply_gradients([(slices([1, 3], values), lazy)])
        theirs.apply_gradients([(slices([1, 3], values), eager)])

    np.testing.assert_allclose(lazy.numpy(), eager.numpy(), rtol=1e-5)


def test_rows_without_a_gradient_keep_value_and_moments():
    variable = table()
    optimizer = LazyAdam(0.1, jit_compile=False)
    optimizer.apply_gradients([(slices([0, 1], [[1.0, 1.0], [1.0, 1.0]]), variable)])
    before = [variable.numpy().copy()] + [slot.numpy().copy() for slot in optimizer.variables[2:]]

    optimizer.apply_gradients([(slices([1], [[1.0, -1.0]]), variable)])

    after = [variable.numpy()] + [slot.numpy() for slot in optimizer.variables[2:]]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old[[0, 2, 3]], new[[0, 2, 3]])
        assert not np.array_equal(old[1], new[1])


def test_duplicate_rows_add_up():
    once, twice = table(), table()
    LazyAdam(0.1, jit_compile=False).apply_gradients([(slices([2], [[3.0, -1.0]]), once)])
    LazyAdam(0.1, jit_compile=False).apply_gradients(
        [(slices([2, 2], [[1.0, -2.0], [2.0, 1.0]]), twice)]
    )

    np.testing.assert_allclose(once.numpy(), twice.numpy(), atol=1e-6)


def test_dense_gradients_are_adams():
    lazy, eager = table(), table()
    ours = LazyAdam(0.1, jit_compile=False)
    theirs = tf.keras.optimizers.Adam(0.1, jit_compile=False)
    for step in range(3):
        gradient = tf.constant(np.cos(np.arange(8).reshape(4, 2) + step), tf.float32)
        ours.apply_gradients([(gradient, lazy)])
        theirs.apply_gradients([(gradient, eager)])

    np.testing.assert_allclose(lazy.numpy(), eager.numpy(), rtol=1e-5)


def test_gathered_rows_give_sparse_gradients_that_it_applies():
    variable = table()
    optimizer = LazyAdam(0.1, jit_compile=False)

    @tf.function
    def step(rows):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(variable, rows) ** 2)
        optimizer.apply_gradients([(tape.gradient(loss, variable), variable)])

    before = variable.numpy().copy()
    step(tf.constant([3, 3, 1]))

    np.testing.assert_array_equal(variable.numpy()[[0, 2]], before[[0, 2]])
    np.testing.assert_allclose(variable.numpy()[[1, 3]], before[[1, 3]] - 0.1, atol=1e-4)
