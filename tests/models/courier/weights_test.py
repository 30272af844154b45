"""A backbone's weights: beside an encoder, and where the next one starts."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.courier.config import BackboneConfig
from models.courier.encoder import ImageEncoder
from models.courier.model import Courier
from models.courier.weights import WEIGHTS
from models.courier.weights import load_weights
from models.courier.weights import save_weights
from models.courier.weights import weights_state
from models.trainer import train
from tests.models.courier.conftest import small


@pytest.fixture(scope="module")
def pretrained(images_log, tmp_path_factory):
    """SimCLR's encoder, and its `folder` as a command leaves it."""
    folder = tmp_path_factory.mktemp("simclr")
    watched = {"validation": {"monitor": "views_loss"}, "epochs": 1}
    model, _ = train(small(objective="simclr", trainer=watched), images_log.data)
    model.export(None, str(folder / "encoder"))
    return model, folder


def backbone(weights, **changes):
    return {"channels": [8, 8], "weights": str(weights)} | changes


@pytest.mark.parametrize("place", ["", "encoder", f"encoder/{WEIGHTS}"])
def test_courier_starts_from_the_backbone_of_simclr(pretrained, images_log, place):
    model, folder = pretrained
    tf.keras.utils.set_random_seed(5)
    made = Courier.of(small(backbone=backbone(folder / place)), images_log.data)
    pixels = made.images.pixels
    np.testing.assert_array_equal(
        made.encoder.features_of(pixels), model.encoder.features_of(pixels)
    )
    # What is standardised are the features of these weights, and the linear layer is its own.
    vectors = made.encoder.vectors_of(pixels[1:])
    np.testing.assert_allclose(vectors.mean(0), 0.0, atol=1e-3)
    assert np.abs(made.encoder.linear.kernel - model.encoder.linear.kernel).max() > 1e-3
    assert len(made.encoder.trainable_weights) == 1 + 2 * 2


def test_a_frozen_backbone_stays_as_simclr_left_it(pretrained, images_log, tmp_path):
    model, folder = pretrained
    given = {"backbone": backbone(folder, frozen=True), "negatives": "page", "rebuild": "mean"}
    made, report = train(small(**given, trainer={"epochs": 3}), images_log.data)
    assert made.inputs_of_encoder.ndim == 2
    assert report["epochs"][-1]["loss"] < report["epochs"][0]["loss"]
    for found, expected in zip(
        made.encoder.backbone.weights, model.encoder.backbone.weights, strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    made.export(None, str(tmp_path / "next"))
    assert weights_state(str(tmp_path / "next")) and (tmp_path / "next" / WEIGHTS).is_file()


def test_weights_of_another_backbone_are_refused(pretrained, images_log, tmp_path):
    _, folder = pretrained
    for channels in ([8, 8, 8], [8, 16]):
        other = small(backbone=backbone(folder, channels=channels))
        with pytest.raises(ValueError, match=r"channels \[8, 8\], and `backbone` is .*Give it"):
            Courier.of(other, images_log.data)
    file = tmp_path / "moved.weights.h5"  # which nothing beside it describes
    shutil.copyfile(folder / "encoder" / WEIGHTS, file)
    with pytest.raises(ValueError, match=r"moved.weights.h5 are not those of `small_cnn`"):
        ImageEncoder(BackboneConfig(**backbone(file, channels=[8, 16])), 4, (8, 8))
    with pytest.raises(ValueError, match="no weights of a backbone.*expected a file, or a folder"):
        ImageEncoder(BackboneConfig(weights=str(tmp_path / "nowhere")), 4, (8, 8))


def test_a_backbone_of_keras_starts_from_a_folder(tmp_path):
    def encoder(seed, weights=""):
        tf.keras.utils.set_random_seed(seed)
        config = BackboneConfig(name="MobileNet", weights=weights, frozen=True)
        return ImageEncoder(config, 4, (32, 32))

    made = encoder(1)
    save_weights(made.backbone, str(tmp_path))
    other = encoder(2, str(tmp_path))
    for found, expected in zip(other.backbone.weights, made.backbone.weights, strict=True):
        np.testing.assert_array_equal(found, expected)
    made.backbone.save_weights(tmp_path / "older.h5")  # as Keras has its own
    load_weights(
        other.backbone, BackboneConfig(name="MobileNet", weights=str(tmp_path / "older.h5"))
    )


def test_the_state_tells_weights_apart(pretrained, tmp_path):
    _, folder = pretrained
    state = weights_state(str(folder))
    assert state == weights_state(str(folder / "encoder")) and weights_state("") == ""
    copied = tmp_path / "encoder"
    shutil.copytree(folder / "encoder", copied)
    assert weights_state(str(tmp_path)) == state
    (copied / WEIGHTS).write_bytes(b"others")
    assert weights_state(str(tmp_path)) != state
    with pytest.raises(ValueError, match="no weights"):
        weights_state(str(tmp_path / "nowhere"))
