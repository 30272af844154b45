"""The check that a loss trains every weight that it should."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def assert_gradients(
    tape: tf.GradientTape, loss: tf.Tensor, weights: Sequence[tf.Variable], above: float = 0.0
) -> None:
    """Asserts that each weight has a gradient, the greatest value of which is above a bound."""
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert gradient is not None, weight.name
        assert np.abs(tf.convert_to_tensor(gradient)).max() > above, weight.name
