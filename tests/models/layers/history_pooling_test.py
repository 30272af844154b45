import numpy as np
import pytest
import tensorflow as tf

from models.layers.history_pooling import HistoryPooling

VALID = tf.constant([[True, True, True], [True, False, False], [False, False, False]])
VECTORS = tf.random.stateless_normal([3, 3, 4], [1, 2])


def test_recency_weights_by_hand():
    layer = HistoryPooling(heads=2, window=3, slowest=0.1, fastest=1.0)
    pooled = layer(VECTORS, VALID).numpy()

    for head, decay in enumerate([0.1, 1.0]):
        weights = np.exp(-decay * np.arange(3))
        expected = (weights[:, None] * VECTORS[0].numpy()).sum(0) / weights.sum()
        np.testing.assert_allclose(pooled[0, head], expected, rtol=1e-5)
        np.testing.assert_allclose(pooled[1, head], VECTORS[1, 0], rtol=1e-5)
    np.testing.assert_array_equal(pooled[2], np.zeros([2, 4]))


def test_content_and_bias_by_hand():
    layer = HistoryPooling(heads=1, window=3, content_dim=2)
    summary = tf.constant([[1.0, -1.0], [0.0, 1.0], [2.0, 0.5]])
    bias = tf.constant([[[0.3], [-0.2], [1.0]]] * 3)
    pooled = layer(VECTORS, VALID, summary, bias).numpy()

    recency, query, key = (weight.numpy() for weight in layer.weights)
    assert recency.shape == (1, 3)
    match = (VECTORS[0].numpy() @ key) @ (summary[0].numpy() @ query) / np.sqrt(2)
    weights = np.exp(recency[0] + match + [0.3, -0.2, 1.0])
    expected = (weights[:, None] * VECTORS[0].numpy()).sum(0) / weights.sum()
    np.testing.assert_allclose(pooled[0, 0], expected, rtol=1e-5)


def test_what_is_not_valid_is_not_read():
    layer = HistoryPooling(heads=2, window=3, content_dim=2)
    summary = tf.ones([3, 2])
    changed = tf.where(VALID[..., None], VECTORS, 1e6)

    np.testing.assert_array_equal(layer(VECTORS, VALID, summary), layer(changed, VALID, summary))


def test_a_missing_summary_is_an_error():
    with pytest.raises(ValueError, match="summary"):
        HistoryPooling(heads=1, window=3, content_dim=2)(VECTORS, VALID)


def test_config_round_trip_and_saving(tmp_path):
    layer = HistoryPooling(heads=2, window=3, content_dim=2)
    summary = tf.ones([3, 2])
    expected = layer(VECTORS, VALID, summary)
    copy = HistoryPooling.from_config(layer.get_config())
    copy(VECTORS, VALID, summary)
    copy.set_weights(layer.get_weights())

    np.testing.assert_array_equal(copy(VECTORS, VALID, summary), expected)
    module = tf.Module()
    module.layer = layer
    module.pool = tf.function(lambda *inputs: layer(*inputs)).get_concrete_function(
        tf.TensorSpec([None, 3, 4]), tf.TensorSpec([None, 3], tf.bool), tf.TensorSpec([None, 2])
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.pool(VECTORS, VALID, summary), expected, rtol=1e-6)
