"""Weights of a backbone: written beside an encoder, and where another one starts."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

import tensorflow as tf

from models.courier.config import SMALL_CNN
from models.courier.config import BackboneConfig

WEIGHTS, FINGERPRINT = "backbone.weights.h5", "fingerprint.json"
_BELOW = ("", "encoder", "Format-Serving")  # of a folder that a command or a run made


def save_weights(backbone: tf.keras.Model, folder: str) -> None:
    """Writes a backbone's weights as `backbone.weights.h5`.

    Args:
        backbone: What is written.
        folder: Where; of this machine or of an object store.
    """
    with tempfile.TemporaryDirectory() as here:  # HDF5 is written to this machine alone
        file = os.path.join(here, WEIGHTS)
        backbone.save_weights(file)
        tf.io.gfile.makedirs(folder)
        tf.io.gfile.copy(file, os.path.join(folder, WEIGHTS), overwrite=True)


def load_weights(backbone: tf.keras.Model, config: BackboneConfig) -> None:
    """Gives a backbone the weights that its configuration names.

    Args:
        backbone: What they are for.
        config: Names a file, or the folder of an encoder (`weights`).

    Raises:
        ValueError: There are none, or they are of another backbone.
    """
    address = weights_file(config.weights)
    _require_same(config, os.path.dirname(address))
    with tempfile.TemporaryDirectory() as here:
        # Keras tells the format by the file's ending.
        file = os.path.join(here, os.path.basename(address))
        tf.io.gfile.copy(address, file)
        try:
            backbone.load_weights(file)
        except (ValueError, KeyError, OSError) as error:
            raise ValueError(
                f"The weights in {address} are not those of {_said(config)}: {error}"
            ) from error


def weights_file(address: str) -> str:
    """Returns the file of weights that an address names.

    Args:
        address: The file, or a folder: of the encoder, or the one above it, which a run or
            `vitrine image-features` made.

    Raises:
        ValueError: There is none.
    """
    if not tf.io.gfile.isdir(address):
        found = [address]
    else:
        found = [os.path.join(address, name, WEIGHTS) for name in _BELOW]
    for file in found:
        if tf.io.gfile.exists(file):
            return file
    raise ValueError(
        f"There are no weights of a backbone in {address}: expected a file, or a folder with "
        f"`{WEIGHTS}` or `encoder/{WEIGHTS}`, as an exported encoder has it (`backbone.weights`)."
    )


def _require_same(config: BackboneConfig, folder: str) -> None:
    """Refuses the weights of an encoder that says it has another backbone."""
    file = os.path.join(folder, FINGERPRINT)
    if not tf.io.gfile.exists(file):
        return
    with tf.io.gfile.GFile(file) as content:
        given: dict[str, Any] = json.loads(content.read())["model"]["backbone"]
    other = BackboneConfig(name=given["name"], channels=given["channels"])
    if _said(other) != _said(config):
        raise ValueError(
            f"The encoder in {folder} has the backbone {_said(other)}, and `backbone` is "
            f"{_said(config)}. Give it the same `name` and `channels`."
        )


def _said(config: BackboneConfig) -> str:
    """Returns what tells a backbone from others."""
    if config.name != SMALL_CNN:
        return f"`{config.name}`"
    return f"`{config.name}` of channels {list(config.channels)}"
