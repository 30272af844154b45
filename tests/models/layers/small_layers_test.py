"""The layers that fit in a few lines: bags, perceptrons, id embeddings, ages."""

import numpy as np
import pytest
import tensorflow as tf

from models.layers.buckets import AGE_BUCKETS
from models.layers.buckets import age_bucket
from models.layers.buckets import age_bucket_starts
from models.layers.buckets import value_bucket
from models.layers.crossed_mlp import CrossedMLP
from models.layers.embedding_bag import EmbeddingBag
from models.layers.item_embedding import ItemEmbedding
from models.layers.mlp import MLP


def copy_of(layer, *inputs):
    """The layer made again of its configuration, with the same weights."""
    copy = type(layer).from_config(layer.get_config())
    copy(*inputs)
    copy.set_weights(layer.get_weights())
    return copy


def test_bag_is_the_sum_over_the_root_of_the_size():
    bag = EmbeddingBag(10, 3)
    tokens = tf.constant([[4, 7, 0, 0], [0, 0, 0, 0], [2, 2, 0, 5]])
    out = bag(tokens).numpy()

    table = bag.table.numpy()
    np.testing.assert_allclose(out[0], (table[4] + table[7]) / np.sqrt(2), rtol=1e-5)
    np.testing.assert_array_equal(out[1], np.zeros(3))
    np.testing.assert_allclose(out[2], (2 * table[2] + table[5]) / np.sqrt(3), rtol=1e-5)
    np.testing.assert_array_equal(copy_of(bag, tokens)(tokens), out)


def test_bag_of_no_tokens_at_all():
    np.testing.assert_array_equal(EmbeddingBag(5, 2)(tf.zeros([3, 4], tf.int32)), np.zeros([3, 2]))
    assert EmbeddingBag(5, 2)(tf.zeros([3, 0], tf.int32)).shape == (3, 2)


def test_bag_gradient_touches_the_tokens_that_are_there():
    bag = EmbeddingBag(10, 2)
    with tf.GradientTape() as tape:
        out = tf.reduce_sum(bag(tf.constant([[4, 0], [4, 6]])))
    gradient = tf.convert_to_tensor(tape.gradient(out, bag.table)).numpy()

    expected = np.zeros([10, 2])
    expected[4] = 1 + 1 / np.sqrt(2)
    expected[6] = 1 / np.sqrt(2)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_perceptron_adds_a_linear_way_past_the_hidden_layer():
    layer = MLP([3], 2)
    x = tf.random.stateless_normal([4, 5], [0, 1])
    out = layer(x)

    hidden, hidden_bias, last, last_bias, past = (weight.numpy() for weight in layer.weights)
    inner = tf.nn.gelu(x @ hidden + hidden_bias).numpy()
    np.testing.assert_allclose(out, inner @ last + last_bias + x.numpy() @ past, atol=1e-5)
    np.testing.assert_array_equal(copy_of(layer, x)(x), out)


def test_perceptron_without_hidden_layers_is_linear():
    layer = MLP([], 2)
    layer(tf.zeros([1, 5]))

    assert [weight.shape for weight in layer.weights] == [(5, 2), (2,)]


def test_dropout_works_in_training_only():
    layer = MLP([8], 2, dropout=0.5)
    x = tf.ones([64, 5])

    assert np.ptp(layer(x).numpy(), axis=0).max() < 1e-6
    assert np.ptp(layer(x, training=True).numpy(), axis=0).max() > 1e-3


def test_unknown_ids_share_the_unknown_items_vector():
    known = np.array([False, True, False, True])
    layer = ItemEmbedding(4, 3, known=known)
    out = layer(tf.constant([0, 1, 2, 3], tf.int64)).numpy()

    np.testing.assert_array_equal(out[2], out[0])
    assert not np.array_equal(out[1], out[0]) and not np.array_equal(out[3], out[0])


def test_id_dropout_hides_ids_in_training_at_its_rate():
    tf.random.set_seed(0)
    layer = ItemEmbedding(1001, 2, id_dropout=0.3)
    ids = tf.range(1, 1001, dtype=tf.int64)
    hidden = (layer(ids, training=True).numpy() == layer(tf.constant([0])).numpy()).all(axis=1)

    assert 0.25 < hidden.mean() < 0.35
    assert not (layer(ids).numpy() == layer(tf.constant([0])).numpy()).all(axis=1).any()


def test_flags_of_known_ids_must_fit():
    with pytest.raises(ValueError, match="received shape"):
        ItemEmbedding(4, 3, known=np.ones(3, bool))(tf.constant([1]))


def test_flags_of_known_ids_are_weights():
    layer = ItemEmbedding(3, 2, known=np.array([False, True, False]))
    ids = tf.constant([1, 2])
    expected = layer(ids)

    np.testing.assert_array_equal(copy_of(layer, ids)(ids), expected)


def test_age_buckets_are_doublings():
    seconds = np.array([-5, 0, 1, 3, 7, 86_400, 10**12])

    np.testing.assert_array_equal(
        age_bucket(tf.constant(seconds * 1_000_000)), [0, 0, 1, 2, 3, 16, AGE_BUCKETS - 1]
    )


def test_starts_of_age_buckets_divide_ages_as_the_buckets_do():
    starts = np.array(age_bucket_starts())
    ages = np.concatenate([starts * 0.999, starts * 1.001, 10 ** np.linspace(0, 18, 1_000), [0]])
    ages = ages.astype(np.int64)
    np.testing.assert_array_equal(
        np.searchsorted(starts, ages, "right"), age_bucket(tf.constant(ages))
    )
    assert len(starts) == AGE_BUCKETS - 1


def test_values_are_rounded_half_to_even():
    values = tf.constant([-3.0, 0.4, 0.5, 1.5, 2.5, 14.6, 99.0])
    np.testing.assert_array_equal(value_bucket(values), [0, 0, 0, 2, 2, 15, 15])


def test_crossed_mlp_equals_numpy():
    layer = CrossedMLP((3,), 2, crosses=2, rank=4)
    x = np.random.default_rng(0).normal(size=[5, 6]).astype(np.float32)
    layer(x)
    for number, weight in enumerate(layer.weights):
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 1]))

    crossed = x
    for cross in layer._crosses:
        u, v, bias = (weight.numpy() for weight in cross.weights)
        crossed = x * (crossed @ u @ v + bias) + crossed
    np.testing.assert_allclose(layer(x), layer._mlp(crossed), rtol=1e-4, atol=1e-4)
    alone = CrossedMLP((3,), 2, crosses=0)
    assert len(alone(x).shape) == 2 and len(alone.weights) == len(layer.weights) - 6
