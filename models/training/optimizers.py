"""Optimisers from their configuration."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from models.config import OptimizerConfig
from models.training.lazy_adam import LazyAdam


class WarmUpAndDecay(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly, then falls along half a cosine.

        rate(t) = peak * min(1, (t + 1) / (warmup + 1)) * (f + (1 - f) (1 + cos(pi t / steps)) / 2)

    Args:
        peak: The rate before the decay.
        steps: Steps over which the rate falls; 0 leaves it constant.
        final: f, the share of the peak that is left.
        warmup: Steps over which the rate rises.
    """

    def __init__(self, peak: float, steps: int, final: float = 0.0, warmup: int = 0) -> None:
        super().__init__()
        self.peak, self.steps, self.final, self.warmup = peak, steps, final, warmup

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate at a step, scalar float32."""
        step = tf.cast(step, tf.float32)
        rate = self.peak * tf.minimum(1.0, (step + 1.0) / (self.warmup + 1.0))
        if not self.steps:
            return rate
        done = tf.minimum(1.0, step / self.steps)
        return rate * (self.final + (1.0 - self.final) * (1.0 + tf.cos(math.pi * done)) / 2.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            "peak": self.peak,
            "steps": self.steps,
            "final": self.final,
            "warmup": self.warmup,
        }


def make_optimizer(config: OptimizerConfig, steps: int) -> tf.keras.optimizers.Optimizer:
    """Makes an optimiser whose step costs what the batch touches.

    Args:
        config: Its name and rates.
        steps: Steps of the whole training, over which the rate falls.

    Returns:
        The optimiser.
    """
    decay = steps if config.schedule == "cosine" else 0
    rate = WarmUpAndDecay(config.learning_rate, decay, config.final_rate, config.warmup_steps)
    common = {"global_clipnorm": config.clip_norm or None, "jit_compile": False}
    if config.name == "adagrad":
        return tf.keras.optimizers.Adagrad(rate, initial_accumulator_value=0.1, **common)
    return LazyAdam(rate, **common)
