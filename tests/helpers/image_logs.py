"""A log with images, and an encoder that nothing has trained."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from models.config import RepresentationTrainerConfig
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.datasets.event_log import Manifest
from tfx_pipeline.datasets.event_log import write_event_log
from tfx_pipeline.image_features.config import RepresentationConfig
from tfx_pipeline.image_features.encoder import ENCODER
from transforms.arrow import pa

ITEMS, DIM = 9, 4


def png(colour: Any) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(np.full([8, 8, 3], colour, np.uint8)).save(encoded, "PNG")
    return encoded.getvalue()


def event(user: int, item: int, time: int) -> dict[str, Any]:
    key = {"user_id": f"u{user}", "entity_type": "item", "entity_id": str(item)}
    return key | {"event": "click", "timestamp": 1_700_000_000_000_000 + time, "ordinal": time}


def write_images(log: Path) -> dict[str, bytes]:
    """Writes a log of which item 0 has no image and item 1 a broken one; beside it a video."""
    colours = [[(30 * item) % 256, 255 - 20 * item, 7 * item] for item in range(ITEMS)]
    images = [None, b"no image", *map(png, colours[2:])]
    catalogue = pa.table(
        {
            "entity_type": ["item"] * ITEMS + ["video"],
            "entity_id": [str(item) for item in range(ITEMS)] + ["0"],
            "image": pa.array([*images, png([1, 2, 3])], pa.binary()),
        }
    )
    events = pa.Table.from_pylist([event(user, user % ITEMS, user) for user in range(12)])
    write_event_log(log, Manifest(name="images", source="test", time="real"), events, catalogue)
    return {str(item): image for item, image in enumerate(images) if image and item > 1}


def save(folder: Path, trainer: RepresentationTrainerConfig) -> str:
    """Writes an encoder with random weights; returns its fingerprint."""
    from models.courier.encoder import ImageEncoder
    from models.courier.export import save_encoder

    encoder = ImageEncoder(trainer.model.backbone, DIM, (8, 8))
    return save_encoder(encoder, trainer.model, str(folder / ENCODER))


def image_log(path: Path) -> SimpleNamespace:
    """The log, how it is run, and the `folder` of an encoder without clusters yet."""
    images = write_images(path / "log")
    model = {"height": 8, "width": 8, "dim": DIM, "backbone": {"channels": [8]}}
    trainer = RepresentationTrainerConfig.model_validate({"model": model})
    section = RepresentationConfig(field="look", trainer=trainer, clusters=3)
    config = PipelineConfig.model_validate(
        {
            "name": "images",
            "log_dir": str(path / "log"),
            "run_dir": str(path / "run"),
            "candidate_types": ["item"],
        }
    )
    folder = path / "run" / "image_features" / "look"
    fingerprint = save(folder, trainer)
    return SimpleNamespace(**locals())
