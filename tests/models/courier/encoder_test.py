"""The image encoder: backbones, standardised features, views and decoding."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import models  # noqa: F401  (chooses Keras 2)
from models.courier.config import BackboneConfig
from models.courier.encoder import ImageEncoder
from models.courier.encoder import whitening
from models.courier.images import augment
from models.courier.images import decode_image
from models.courier.losses import mean_cosine

IMAGES = np.random.default_rng(0).integers(0, 256, [30, 16, 16, 3]).astype(np.uint8)


def make(**backbone):
    tf.keras.utils.set_random_seed(1)
    return ImageEncoder(BackboneConfig(**backbone), 4, (16, 16))


def test_features_are_standardised_and_mapped_by_one_layer():
    encoder = make(channels=(8, 16))
    features = encoder.features_of(IMAGES)
    assert features.shape == (30, 4 * (3 + 8 + 16))  # of the pixels and of both blocks
    encoder.fit_statistics(features)
    scaled = (features - features.mean(0)) / np.maximum(features.std(0), 1e-3)
    expected = scaled @ encoder.linear.kernel.numpy()
    np.testing.assert_allclose(encoder(tf.constant(IMAGES)), expected, atol=1e-3)
    np.testing.assert_allclose(encoder(tf.constant(features)), expected, atol=1e-3)
    np.testing.assert_allclose(encoder.vectors_of(IMAGES), expected, atol=1e-3)


def test_what_pooled_features_have_in_common_is_taken_away():
    encoder = make()
    features = encoder.features_of(IMAGES)
    assert mean_cosine(features) > 0.5
    encoder.fit_statistics(features)
    assert abs(mean_cosine(encoder.vectors_of(IMAGES))) < 0.1


def test_the_linear_layer_starts_as_the_principal_components():
    rng = np.random.default_rng(3)
    features = rng.normal(size=[200, 5]) @ np.diag([3.0, 2.0, 1.0, 0.5, 0.0]) + 7.0
    rotation = np.linalg.qr(rng.normal(size=[5, 5]))[0]
    rotated = (features - features.mean(0)) @ rotation
    kernel = whitening(rotated, 3)
    np.testing.assert_allclose(np.cov((rotated @ kernel).T, bias=True), np.eye(3), atol=1e-5)
    scaled = (features - features.mean(0))[:, :3] / features.std(0)[:3]
    share = np.abs(np.corrcoef(scaled.T, (rotated @ kernel).T)[:3, 3:])
    np.testing.assert_allclose(np.diag(share), 1.0, atol=0.03)  # the greatest ones, in their order
    assert whitening(rotated, 5).shape == (5, 4)  # there is no fifth direction


def test_small_cnn_keeps_colour_light_and_contrast():
    """The first moments are the pixels' own: of the whole picture, then of its middle half."""
    pixels = IMAGES / 127.5 - 1.0
    middle = pixels[:, 4:12, 4:12]
    expected = [f(part, axis=(1, 2)) for part in (pixels, middle) for f in (np.mean, np.std)]
    found = make().features_of(IMAGES)[:, :12]
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), atol=1e-3)


def test_a_frozen_backbone_leaves_the_linear_layer_to_learn():
    assert len(make(frozen=True).trainable_weights) == 1
    assert len(make(channels=(8, 8)).trainable_weights) == 1 + 2 * 2


def test_weights_come_from_a_path(tmp_path):
    encoder = make()
    path = str(tmp_path / "cnn.weights.h5")
    encoder.backbone.save_weights(path)
    tf.keras.utils.set_random_seed(2)
    other = ImageEncoder(BackboneConfig(weights=path), 4, (16, 16))
    np.testing.assert_array_equal(other.features_of(IMAGES), encoder.features_of(IMAGES))


def test_a_backbone_of_keras():
    encoder = ImageEncoder(BackboneConfig(name="MobileNet", frozen=True), 4, (32, 32))
    images = np.repeat(np.repeat(IMAGES[:2], 2, axis=1), 2, axis=2)
    applied = tf.keras.applications.mobilenet.preprocess_input(images.astype(np.float32))
    expected = encoder.backbone(applied, training=False)
    np.testing.assert_allclose(encoder.features_of(images), expected, atol=1e-4)


def test_an_unknown_backbone_is_named():
    with pytest.raises(ValueError, match="no backbone `SwinTiny`.*`small_cnn`.*ConvNeXtTiny"):
        make(name="SwinTiny")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_images_are_resized_by_area(kind):
    pixels = np.zeros([4, 8, 3], np.uint8)
    pixels[:, 4:] = [200, 100, 50]
    encoded = io.BytesIO()
    Image.fromarray(pixels).resize((64, 32), 0).save(encoded, kind, quality=95)
    decoded = decode_image(tf.constant(encoded.getvalue()), 2, 2).numpy()
    assert decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded[:, 1], [[200, 100, 50]] * 2, atol=4)
    np.testing.assert_allclose(decoded[:, 0], 0, atol=4)


def test_views_are_crops_of_their_own_image():
    flat = np.tile(np.arange(6, dtype=np.uint8)[:, None, None, None] * 30 + 40, [1, 8, 8, 3])
    views = augment(tf.constant(flat), tf.constant([1, 2], tf.int64)).numpy()
    assert views.shape == (6, 8, 8, 3)
    assert np.ptp(views, axis=(1, 2, 3)).max() < 1e-3  # a crop of one colour has one colour
    share = views[:, 0, 0, 0] / flat[:, 0, 0, 0]
    assert share.min() >= 0.8 - 1e-5 and share.max() <= 1.2 + 1e-5 and np.ptp(share) > 0.0
    other = augment(tf.constant(IMAGES), tf.constant([1, 3], tf.int64)).numpy()
    assert np.abs(other - augment(tf.constant(IMAGES), tf.constant([1, 2], tf.int64))).max() > 1.0
