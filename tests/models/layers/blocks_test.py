"""Blocks of encoders against NumPy, and what every block has to keep to."""

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401
from models.layers.attention_block import AttentionBlock
from models.layers.gru_block import GRUBlock
from models.layers.hstu_block import HSTUBlock
from models.layers.rms_norm import RMSNorm
from models.layers.rms_norm import inverse_rms

RNG = np.random.default_rng(0)
EVENTS = RNG.normal(size=[2, 5, 8]).astype(np.float32)
AHEAD = np.triu(np.ones([5, 5], np.float32), 1)[None, None] * -1e9
BIAS = AHEAD + RNG.normal(size=[1, 2, 5, 5]).astype(np.float32)
BLOCKS = {
    "attention": lambda **more: AttentionBlock(heads=2, feed_forward_multiplier=2.0, **more),
    "rotary": lambda **more: AttentionBlock(
        heads=2, feed_forward_multiplier=2.0, rotary=True, **more
    ),
    "hstu": lambda **more: HSTUBlock(heads=2, length=7, **more),
    "hstu rotary": lambda **more: HSTUBlock(heads=2, length=7, rotary=True, **more),
    "gru": lambda **more: GRUBlock(**more),
}


def norm(x):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)


def split(x):
    """[2, 5, 8] as two heads, [2, 2, 5, 4]."""
    return x.reshape(2, 5, 2, 4).transpose(0, 2, 1, 3)


def joined(x):
    return x.transpose(0, 2, 1, 3).reshape(2, 5, 8)


def silu(x):
    return x / (1 + np.exp(-np.clip(x, -80, 80)))


def kernel(layer):
    return layer.kernel.numpy()


def test_rms_norm_is_hand_computed():
    layer = RMSNorm(epsilon=0.0)
    np.testing.assert_allclose(
        layer(np.array([[3.0, 4.0]], np.float32)), [[3 / 12.5**0.5, 4 / 12.5**0.5]], rtol=1e-6
    )
    layer.scale.assign([2.0, 0.0])
    np.testing.assert_allclose(
        layer(np.array([[3.0, 4.0]], np.float32)), [[6 / 12.5**0.5, 0.0]], rtol=1e-6
    )
    assert np.isfinite(RMSNorm()(np.zeros([1, 2], np.float32))).all()


def test_inverse_rms_is_hand_computed():
    vectors = tf.constant([[3.0, 4.0], [-1e-3, 1e-3], [0.0, 0.0]])
    expected = [[12.5**-0.5], [2e-6**-0.5], [1e3]]
    np.testing.assert_allclose(inverse_rms(vectors), expected, rtol=1e-5)
    np.testing.assert_allclose(inverse_rms(vectors, 0.5), [[13**-0.5], [2**0.5], [2**0.5]], 1e-5)


def test_zeros_stay_zeros_and_have_a_finite_gradient():
    vectors = tf.Variable([[0.0, 0.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        scaled = vectors * inverse_rms(vectors)
        first = tf.reduce_sum(scaled[:, 0])
    np.testing.assert_array_equal(scaled[0], 0.0)
    # d (x / rms) / dx = (1, 0) / rms - x x_0 / (2 rms^3), of x = (3, 4)
    rms = 12.5**0.5
    expected = [[1e3, 0.0], [1 / rms - 9 / (2 * rms**3), -12 / (2 * rms**3)]]
    np.testing.assert_allclose(tape.gradient(first, vectors), expected, rtol=1e-4)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_inverse_rms_has_the_type_of_what_it_scales_and_a_mean_in_float32(dtype):
    scale = inverse_rms(tf.constant([[300.0, 400.0]], dtype))  # whose squares overflow float16
    assert scale.dtype == dtype
    np.testing.assert_allclose(tf.cast(scale, tf.float32), [[125_000**-0.5]], rtol=1e-2)


def test_attention_equals_numpy():
    block = BLOCKS["attention"]()
    out = block(EVENTS, BIAS)

    query, key, value = map(split, np.split(norm(EVENTS) @ kernel(block.inputs), 3, axis=-1))
    scores = query @ key.transpose(0, 1, 3, 2) / 2.0 + BIAS
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    expected = EVENTS + joined(weights @ value) @ kernel(block.outputs)
    hidden = np.maximum(norm(expected) @ kernel(block.widen), 0.0)
    np.testing.assert_allclose(out, expected + hidden @ kernel(block.narrow), atol=1e-5)


def test_hstu_equals_numpy():
    block = BLOCKS["hstu"]()
    out = block(EVENTS, BIAS)

    parts = silu(norm(EVENTS) @ kernel(block.inputs))
    gate, value, query, key = np.split(parts, 4, axis=-1)
    weights = silu(split(query) @ split(key).transpose(0, 1, 3, 2) + BIAS) / 7
    found = norm(joined(weights @ split(value))) * gate
    np.testing.assert_allclose(out, EVENTS + found @ kernel(block.outputs), atol=1e-5)


@pytest.mark.parametrize("name", BLOCKS)
def test_no_place_sees_a_later_one(name):
    block, changed = BLOCKS[name](), EVENTS.copy()
    changed[:, 3:] += 1.0
    before, after = block(EVENTS, AHEAD).numpy(), block(changed, AHEAD).numpy()

    np.testing.assert_allclose(before[:, :3], after[:, :3], atol=1e-6)
    assert (np.abs(before[:, 3:] - after[:, 3:]).max(axis=2) > 1e-3).all()


@pytest.mark.parametrize("name", ["rotary", "hstu rotary"])
def test_rotary_blocks_see_distances_and_no_places(name):
    """Two events before the others, equal for all, shift every place by two."""
    block = BLOCKS[name]()
    forbidden = np.zeros([1, 1, 7, 7], np.float32)
    forbidden[:, :, :, :2] = -1e9  # nobody looks at the first two
    longer = np.concatenate([np.zeros([2, 2, 8], np.float32), EVENTS], axis=1)
    bias = np.triu(np.full([7, 7], -1e9, np.float32), 1)[None, None] + forbidden

    np.testing.assert_allclose(block(longer, bias)[:, 2:], block(EVENTS, AHEAD), atol=1e-4)


@pytest.mark.parametrize("name", BLOCKS)
def test_the_configuration_makes_the_same_block(name):
    block = BLOCKS[name](dropout=0.3)
    block(EVENTS, AHEAD)
    again = type(block).from_config(block.get_config())
    again(EVENTS, AHEAD)
    again.set_weights(block.get_weights())

    np.testing.assert_array_equal(again(EVENTS, AHEAD), block(EVENTS, AHEAD))
    assert again.get_config() == block.get_config()


@pytest.mark.parametrize("name", BLOCKS)
def test_dropout_works_in_training_only(name):
    block = BLOCKS[name](dropout=0.5)

    np.testing.assert_array_equal(block(EVENTS, AHEAD), block(EVENTS, AHEAD))
    assert np.abs(block(EVENTS, AHEAD, training=True) - block(EVENTS, AHEAD)).max() > 1e-3


@pytest.mark.parametrize("name", BLOCKS)
def test_half_precision_keeps_close(name):
    exact = BLOCKS[name]()
    exact(EVENTS, AHEAD)
    rough = BLOCKS[name](dtype="mixed_bfloat16")
    rough(EVENTS, AHEAD)
    rough.set_weights(exact.get_weights())

    found = rough(EVENTS, AHEAD)
    assert found.dtype == tf.bfloat16 and rough.weights[0].dtype == tf.float32
    np.testing.assert_allclose(tf.cast(found, tf.float32), exact(EVENTS, AHEAD), atol=0.1)
