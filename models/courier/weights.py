"""Weights of a backbone: written beside an encoder, and where another one starts. No TensorFlow."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from models.courier.config import SMALL_CNN
from models.courier.config import BackboneConfig
from transforms.storage import place

WEIGHTS, FINGERPRINT = "backbone.weights.h5", "fingerprint.json"
_FOLDERS = ("", "encoder", "Format-Serving")  # what a command and a run have encoders in


def save_weights(backbone: Any, folder: str) -> None:
    """Writes the weights of a Keras model as `backbone.weights.h5`.

    Args:
        backbone: What is written.
        folder: Where; of this machine or of an object store.
    """
    target = place(folder)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as here:  # HDF5 is written to this machine alone
        file = Path(here, WEIGHTS)
        backbone.save_weights(str(file))
        (target / WEIGHTS).write_bytes(file.read_bytes())


def load_weights(backbone: Any, config: BackboneConfig) -> None:
    """Gives a Keras model the weights that its configuration names.

    Args:
        backbone: What they are for.
        config: Names a file, or the folder of an encoder (`weights`).

    Raises:
        ValueError: There are none, or they are of another backbone.
    """
    source = weights_file(config.weights)
    _require_same(config, source.parent)
    with tempfile.TemporaryDirectory() as here:
        file = Path(here, source.name)  # Keras tells the format by the ending
        file.write_bytes(source.read_bytes())
        try:
            backbone.load_weights(str(file))
        except (ValueError, KeyError, OSError) as error:
            raise ValueError(
                f"The weights in {source} are not those of {_said(config)}: {error}"
            ) from error


def weights_file(address: str) -> Path:
    """Returns the file of weights that an address names.

    Args:
        address: The file, or a folder: of an encoder, or what holds that, as
            `vitrine image-features` or a run made it.

    Raises:
        ValueError: There is none.
    """
    named = place(address)
    for file in (named, *(named / folder / WEIGHTS for folder in _FOLDERS)):
        if file.is_file():
            return file
    raise ValueError(
        f"There are no weights of a backbone in {address}: expected a file, or a folder with "
        f"`{WEIGHTS}` or `encoder/{WEIGHTS}`, as an earlier encoder has it."
    )


def weights_state(address: str) -> str:
    """Returns what tells weights from others; "" where there is no address.

    Args:
        address: As `weights_file` takes it.

    Raises:
        ValueError: There are none.
    """
    if not address:
        return ""
    return hashlib.sha256(weights_file(address).read_bytes()).hexdigest()[:16]


def _require_same(config: BackboneConfig, folder: Path) -> None:
    """Refuses the weights of an encoder that says it has another backbone."""
    file = folder / FINGERPRINT
    if not file.is_file():
        return
    given: dict[str, Any] = json.loads(file.read_text())["model"]["backbone"]
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
