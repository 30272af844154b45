"""The folder of an encoder: `encoder/`, its SavedModel, and `centres.npy`, the clusters'."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from transforms.storage import files_below
from transforms.storage import get_file
from transforms.storage import is_store
from transforms.storage import place

ENCODER, CENTRES, FINGERPRINT = "encoder", "centres.npy", "fingerprint.json"


def encoder_state(address: str) -> str:
    """Returns what tells an encoder and its clusters from others; "" where there is no address.

    Args:
        address: Its folder.

    Raises:
        ValueError: There is no encoder.
    """
    if not address:
        return ""
    source = place(address)
    if not (source / ENCODER / FINGERPRINT).is_file():
        raise ValueError(
            f"There is no encoder in {address}: expected `{ENCODER}/{FINGERPRINT}`. Name what an "
            "earlier run made (`image-feature-builder/features/<number>` among its artifacts), or "
            "`<run_dir>/image_features/<field>` of `vitrine image-features`."
        )
    state = fingerprint_of(source)
    if (source / CENTRES).is_file():
        state += " " + hashlib.sha256((source / CENTRES).read_bytes()).hexdigest()[:16]
    return state


def fingerprint_of(folder: Path) -> str:
    """Returns the encoder's fingerprint."""
    return str(_content(folder)["fingerprint"])


def require_dim(folder: Path, dim: int) -> None:
    """Refuses an encoder whose vectors have another length than is declared.

    Args:
        folder: Of the encoder.
        dim: What is declared.

    Raises:
        ValueError: They have.
    """
    found = _content(folder)["model"]["dim"]
    if found != dim:
        raise ValueError(
            f"The encoder in {folder} makes vectors of {found} numbers, and "
            f"`representation.trainer.model.dim` is {dim}. Set it to {found}, "
            "or name another encoder."
        )


def fetch_encoder(address: str, folder: Path) -> None:
    """Copies an encoder and its clusters, if it has any.

    Args:
        address: Its folder, of this machine or of an object store.
        folder: Where both go.
    """
    source = place(address)
    paths = [*files_below(source / ENCODER)]
    paths += [path for path in (source / CENTRES,) if path.is_file()]
    for path in paths:
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_store(path):
            get_file(path, target)
        else:
            shutil.copyfile(path, target)


def _content(folder: Path) -> dict[str, dict[str, int]]:
    text = (folder / ENCODER / FINGERPRINT).read_text(encoding="utf-8")
    content: dict[str, dict[str, int]] = json.loads(text)
    return content
