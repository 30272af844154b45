"""The encoder as a SavedModel, and the fingerprint that tells it from others."""

from __future__ import annotations

import hashlib
import json
import os

import tensorflow as tf

from models.courier.config import CourierConfig
from models.courier.encoder import ImageEncoder
from models.courier.images import decode_image
from models.courier.weights import FINGERPRINT
from models.courier.weights import save_weights


def save_encoder(encoder: ImageEncoder, config: CourierConfig, path: str) -> str:
    """Writes a SavedModel that embeds encoded images.

    `serving_default`: `image` [n] string, JPEG or PNG -> `vector` [n, d] float32 of unit
    length, which is what `transform.image_encoder` takes. Beside it are the backbone's weights,
    which another encoder may start from (`backbone.weights`).

    Args:
        encoder: What is written.
        config: Its configuration.
        path: The directory to write.

    Returns:
        Its fingerprint, a hash of weights and configuration, which is in `fingerprint.json`, too.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    @tf.autograph.experimental.do_not_convert
    def embed(image: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = tf.TensorSpec([config.height, config.width, 3], tf.uint8)
        pixels = tf.map_fn(
            lambda one: decode_image(one, config.height, config.width),
            image,
            fn_output_signature=spec,
        )
        # Some layers do not take a batch without images, so that a blank one goes with each.
        pixels = tf.pad(pixels, [[0, 1], [0, 0], [0, 0], [0, 0]])
        return {"vector": tf.math.l2_normalize(encoder(pixels)[:-1], axis=1)}

    module = tf.Module()
    module.weights = list(encoder.variables)
    module.embed = embed
    tf.saved_model.save(module, path, signatures={"serving_default": embed})
    save_weights(encoder.backbone, path)
    found = fingerprint(encoder, config)
    with tf.io.gfile.GFile(os.path.join(path, FINGERPRINT), "w") as file:
        file.write(json.dumps({"fingerprint": found, "model": config.model_dump(mode="json")}))
    return found


def fingerprint(encoder: ImageEncoder, config: CourierConfig) -> str:
    """Returns a hash of an encoder's weights and configuration, 16 hexadecimal digits."""
    digest = hashlib.sha256(config.to_json().encode())
    for weight in encoder.variables:
        digest.update(weight.numpy().tobytes())
    return digest.hexdigest()[:16]
