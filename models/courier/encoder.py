"""The image encoder: a backbone, standardised features, and one linear layer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models.courier.config import SMALL_CNN
from models.courier.config import BackboneConfig
from models.courier.weights import load_weights
from models.training.replicas import sum_over_replicas

_EPSILON = 1e-4  # added to variances
_CHUNK = 256  # images that are encoded at a time outside of training


class SmallCNN(tf.keras.Model):
    """A few convolutions for small images on a CPU, all they see pooled.

        x_0 = pixels,  x_{i+1} = relu(W_i * x_i + b_i), halved
        out = [mean x_0 ; deviation x_0 ; .. ; mean x_n ; deviation x_n]

    each over the whole picture and over its middle half, where things stand. Early blocks tell
    colours and edges, late ones patterns and shapes. Nothing is normalised image by image, which
    would take colours, light and contrast away.

    Args:
        channels: Of the blocks.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__(name=SMALL_CNN)
        self.convolutions = [
            tf.keras.layers.Conv2D(
                width, 3, 2, "same", kernel_initializer="he_normal", name=f"conv_{index}"
            )
            for index, width in enumerate(channels)
        ]

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Maps [n, height, width, 3] float32 of 0 .. 255 to [n, features] float32."""
        values = images / 127.5 - 1.0
        pooled = _moments(values)
        for convolution in self.convolutions:
            values = tf.nn.relu(convolution(values))
            pooled += _moments(values)
        return tf.concat(pooled, axis=1)


class ImageEncoder(tf.keras.layers.Layer):
    """Embeds images.

        E(x) = (W (f(x) - mean) / deviation - centre) / spread

    with f the backbone's pooled features, and mean and deviation theirs at the start. Pooled
    features are all positive and have most of their length in common: without this all vectors
    point the same way, and a cosine tells nothing. W starts as the d greatest principal components
    of the standardised features, each of variance 1: a random W would keep little of thousands of
    features, most of which say the same. Centre and spread are those of all images'
    vectors; in training those of the batch stand for them (`standardise`), so that no step can
    move all vectors one way, which is the shortest way to a lower loss at first. There is no
    projection head.

    Args:
        config: The backbone.
        dim: d, length of a vector.
        shape: Height and width of images, in pixels.

    Raises:
        ValueError: There is no such backbone, or the weights that it names are not its own.
    """

    def __init__(self, config: BackboneConfig, dim: int, shape: tuple[int, int]) -> None:
        super().__init__(name="encoder")
        self.config = config
        self.backbone, self._preprocess = _make_backbone(config, shape)
        self.linear = tf.keras.layers.Dense(dim, use_bias=False, name="linear")
        width = int(self.backbone(self._preprocess(tf.zeros([1, *shape, 3]))).shape[1])
        if config.weights:
            load_weights(self.backbone, config)
        self.backbone.trainable = not config.frozen
        given: dict[str, Any] = {"shape": [width], "trainable": False}
        self.mean = self.add_weight(name="mean", initializer="zeros", **given)
        self.deviation = self.add_weight(name="deviation", initializer="ones", **given)
        self.linear.build([None, width])
        given["shape"] = [dim]
        self.centre = self.add_weight(name="centre", initializer="zeros", **given)
        self.spread = self.add_weight(name="spread", initializer="ones", **given)

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """Makes the backbone's features of [n, height, width, 3] images: [n, F] float32.

        Normalisation over batches stays as its weights say, in training too: batches are of
        distinct images, and replicas have different ones.
        """
        return self.backbone(self._preprocess(tf.cast(images, tf.float32)), training=False)

    def raw_vectors(self, images: tf.Tensor) -> tf.Tensor:
        """Embeds images but for centre and spread, given as in `call`: [n, d] float32."""
        features = images if images.shape.rank == 2 else self.features(images)
        return self.linear((features - self.mean) / self.deviation)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Embeds images.

        Args:
            images: [n, height, width, 3] pixels in 0 .. 255, or [n, F] features of them.

        Returns:
            [n, d] float32.
        """
        return (self.raw_vectors(images) - self.centre) / self.spread

    def fit_statistics(self, features: np.ndarray) -> None:
        """Sets mean and deviation to those of [n, F] features, and W to what whitens them."""
        mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-3)
        self.mean.assign(mean)
        self.deviation.assign(deviation)
        directions = whitening((features - mean) / deviation, self.linear.units)
        kernel = self.linear.kernel.numpy()
        kernel[:, : directions.shape[1]] = directions
        self.linear.kernel.assign(kernel)

    def fit_centre(self, images: np.ndarray) -> np.ndarray:
        """Sets centre and spread to those of the vectors of images, and embeds them.

        Args:
            images: [n + 1, ..], given as in `call`; the first is blank and does not count.

        Returns:
            [n + 1, d] float32, as `vectors_of` gives them from then on.
        """
        raw = self._in_chunks(self.raw_vectors, images)
        self.centre.assign(raw[1:].mean(axis=0))
        self.spread.assign(np.sqrt(raw[1:].var(axis=0) + _EPSILON))
        return (raw - self.centre.numpy()) / self.spread.numpy()

    def features_of(self, images: np.ndarray) -> np.ndarray:
        """Makes features of many images, [n, height, width, 3] uint8: [n, F] float32."""
        return self._in_chunks(self.features, images)

    def vectors_of(self, images: np.ndarray) -> np.ndarray:
        """Embeds many images, given as in `call`: [n, d] float32."""
        return self._in_chunks(self.call, images)

    def _in_chunks(self, function: Any, images: np.ndarray) -> np.ndarray:
        traced = tf.function(function, reduce_retracing=True, autograph=False)
        starts = range(0, len(images), _CHUNK)
        return np.concatenate([traced(tf.constant(images[i : i + _CHUNK])) for i in starts])


def standardise(vectors: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    """Takes centre and spread of a batch from its vectors: batch normalisation without weights.

    Args:
        vectors: [n, d] float32.
        seen: [P] int, which of the n were seen; one that was seen twice counts twice, so that
            the moments over all replicas do not depend on how pages are divided among them.

    Returns:
        [n, d] float32.
    """
    chosen = tf.gather(vectors, seen)
    one = tf.ones_like(chosen[:, :1])
    sums = tf.reduce_sum(tf.concat([chosen, tf.square(chosen), one], axis=1), axis=0)
    total, squares, number = tf.split(sum_over_replicas(sums), [vectors.shape[1]] * 2 + [1])
    centre = total / tf.maximum(number, 1.0)
    variance = tf.maximum(squares / tf.maximum(number, 1.0) - tf.square(centre), 0.0)
    return (vectors - centre) * tf.math.rsqrt(variance + _EPSILON)


def whitening(features: np.ndarray, dim: int) -> np.ndarray:
    """Finds the principal components of features, scaled to a variance of 1.

    Args:
        features: [n, F], with a mean of 0.
        dim: d, how many are wanted.

    Returns:
        [F, d] float32, the greatest first; fewer where the features vary in fewer directions.
    """
    variances, directions = np.linalg.eigh(np.cov(features, rowvar=False, bias=True))
    variances, directions = variances[::-1][:dim], directions[:, ::-1][:, :dim]
    there = variances > _EPSILON * variances[0]
    # Workers with other processors should not start from vectors of another sign.
    sign = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(len(there))])
    scaled = directions * sign / np.sqrt(np.maximum(variances, _EPSILON))
    return scaled[:, there].astype(np.float32)


def _make_backbone(config: BackboneConfig, shape: tuple[int, int]) -> tuple[Any, Any]:
    """Returns a model of images [n, h, w, 3] -> [n, F], and what makes its input of 0 .. 255."""
    if config.name == SMALL_CNN:
        return SmallCNN(config.channels), tf.identity
    made = getattr(tf.keras.applications, config.name, None)
    if not callable(made):
        known = sorted(name for name in dir(tf.keras.applications) if name[0].isupper())
        raise ValueError(
            f"There is no backbone `{config.name}`. Expected `{SMALL_CNN}` or one of "
            f"{', '.join(known)}."
        )
    backbone = made(include_top=False, weights=None, input_shape=(*shape, 3), pooling="avg")
    return backbone, sys.modules[made.__module__].preprocess_input


def _moments(values: tf.Tensor) -> list[tf.Tensor]:
    """Returns mean and deviation of [n, h, w, c] values, whole and of their middle: [n, c] each."""
    top, left = (size // 4 for size in values.shape[1:3])
    middle = values[:, top : values.shape[1] - top, left : values.shape[2] - left]
    moments = []
    for part in (values, middle):
        mean, variance = tf.nn.moments(part, axes=[1, 2])
        moments += [mean, tf.sqrt(variance + _EPSILON)]
    return moments
