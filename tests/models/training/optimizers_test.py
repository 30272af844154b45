import math

import pytest
import tensorflow as tf

from models.config import OptimizerConfig
from models.training.lazy_adam import LazyAdam
from models.training.optimizers import WarmUpAndDecay
from models.training.optimizers import make_optimizer


def test_rate_rises_then_falls_to_its_end():
    rate = WarmUpAndDecay(peak=0.4, steps=100, final=0.1, warmup=3)

    assert rate(0).numpy() == pytest.approx(0.1)
    half = 0.1 + 0.9 * (1 + math.cos(math.pi * 0.5)) / 2
    assert rate(50).numpy() == pytest.approx(0.4 * half, rel=1e-5)
    assert rate(100).numpy() == rate(500).numpy() == pytest.approx(0.04)


def test_rate_without_decay_is_constant_after_the_warm_up():
    rate = WarmUpAndDecay(peak=0.4, steps=0, warmup=1)

    assert [rate(step).numpy() for step in (0, 1, 10**6)] == pytest.approx([0.2, 0.4, 0.4])
    assert WarmUpAndDecay.from_config(rate.get_config()).get_config() == rate.get_config()


@pytest.mark.parametrize(
    "name, kind", [("lazy_adam", LazyAdam), ("adagrad", tf.keras.optimizers.Adagrad)]
)
def test_optimisers_touch_the_rows_of_a_gradient_only(name, kind):
    variable = tf.Variable(tf.ones([5, 2]))
    optimizer = make_optimizer(OptimizerConfig(name=name, schedule="constant"), steps=10)
    gradient = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([3]), tf.constant([5, 2]))
    optimizer.apply_gradients([(gradient, variable)])

    assert isinstance(optimizer, kind)
    moved = (variable.numpy() != 1.0).any(axis=1)
    assert moved.tolist() == [False, False, False, True, False]
