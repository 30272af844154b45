"""Adam whose step costs what the batch touches, not what the vocabulary holds."""

from __future__ import annotations

import tensorflow as tf


class LazyAdam(tf.keras.optimizers.Adam):
    """Adam (Kingma & Ba 2015, algorithm 1) that leaves rows without a gradient alone.

    For a sparse gradient Keras's Adam decays the moments of every row and moves
    every row by its momentum, so that a step reads and writes the whole table
    three times. Here rows without a gradient keep their moments and their values.
    On the rows with a gradient, the step is Adam's:

        m = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) g^2
        w = w - lr sqrt(1 - b2^t) / (1 - b1^t)  m / (sqrt(v) + eps)

    with t the number of steps of the optimiser. Dense gradients are Adam's as is.
    """

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """Applies one gradient to one variable.

        Args:
            gradient: Dense, or slices with unique indices (Keras has merged
                duplicates before it calls this).
            variable: The variable, whose slots `build` has made.
        """
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        dtype = variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = tf.cast(self.beta_1, dtype), tf.cast(self.beta_2, dtype)
        rate = tf.cast(self.learning_rate, dtype) * tf.sqrt(1.0 - tf.pow(beta_2, step))
        rate /= 1.0 - tf.pow(beta_1, step)
        slot = self._index_dict[self._var_key(variable)]
        momentum, velocity = self._momentums[slot], self._velocities[slot]
        rows, slopes = gradient.indices, gradient.values
        first = beta_1 * tf.gather(momentum, rows) + (1.0 - beta_1) * slopes
        second = beta_2 * tf.gather(velocity, rows) + (1.0 - beta_2) * tf.square(slopes)
        momentum.scatter_update(tf.IndexedSlices(first, rows))
        velocity.scatter_update(tf.IndexedSlices(second, rows))
        move = rate * first / (tf.sqrt(second) + self.epsilon)
        variable.scatter_sub(tf.IndexedSlices(move, rows))
