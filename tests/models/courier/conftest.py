"""A log whose users like things of one of four colours, which nothing but the images tells."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import models  # noqa: F401  (chooses Keras 2)
from models.config import RepresentationTrainerConfig
from tests.helpers.examples import example
from tests.helpers.timelines import DAY
from tests.helpers.timelines import row
from tests.helpers.timelines import run_transform
from tests.helpers.timelines import timeline
from tests.helpers.timelines import write_examples
from transforms import features as f

ITEMS, USERS = 24, 40
COLOURS = np.array([[220, 40, 40], [40, 200, 40], [50, 60, 220], [128, 128, 128]])


def small(**model) -> RepresentationTrainerConfig:
    trainer = model.pop("trainer", {})
    values = {
        "model": {
            "height": 8,
            "width": 8,
            "dim": 8,
            "heads": 2,
            "history": 3,
            "window": 6,
            "backbone": {"channels": [8, 8]},
        }
        | model,
        "input": {"batch_size": 16},
        "optimizer": {"learning_rate": 0.01},
        "epochs": 2,
        "candidate_types": ["item"],
        "tensorboard": False,
        "checkpoints": False,
    }
    return RepresentationTrainerConfig.model_validate(values | trainer)


def png(item: int) -> bytes:
    """A noisy square of the colour of the item's group, `item % 4`."""
    noise = np.random.default_rng(item).normal(0, 12, [12, 10, 3])
    pixels = np.clip(COLOURS[item % 4] + noise, 0, 255).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def page(user: int) -> bytes:
    clicked, other = f"item:{(user + 8) % ITEMS}", f"item:{(user + 1) % ITEMS}"
    history = [f"item:{(user + 4 * step) % ITEMS}" for step in range(2)]
    return example(
        **{
            f.USER_ID: f"u{user}",
            f.EVENT_ENTITY: history,
            f.EVENT_TYPE: ["click"] * 2,
            f.EVENT_TIMESTAMP: [DAY, 2 * DAY],
            f.EVENT_VALUE: [0.0] * 2,
            f.EVENT_QUERY: [""] * 2,
            f.REQUEST_TIME: 30 * DAY,
            f.REQUEST_QUERY: "",
            f.CANDIDATE_ENTITY: [other, clicked],
            f.LABEL_EVENTS: [0, 1],
        }
    )


def user_timeline(user: int) -> bytes:
    events = [("click", f"item:{(user + 4 * step) % ITEMS}", (1 + step) * DAY) for step in range(5)]
    shown = {
        f.PAGE_TIMESTAMP: [5 * DAY],
        f.PAGE_QUERY: [""],
        f.PAGE_HISTORY_LENGTH: [4],
        f.IMPRESSION_PAGE: [0, 0, 0],
        f.IMPRESSION_POSITION: [0, 1, 2],
        f.IMPRESSION_ENTITY: [events[-1][1], f"item:{(user + 1) % ITEMS}", "video:0"],
        f.IMPRESSION_EVENTS: [1, 0, 0],
    }
    return timeline(f"u{user}", events, **shown)


@pytest.fixture(scope="session")
def images_log(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The log's transformed `data`, and the encoded images by entity."""
    import tensorflow_transform as tft

    from models.training.data import TrainingData

    path: Path = tmp_path_factory.mktemp("images")
    images = {f"item:{item}": png(item) for item in range(ITEMS)}
    catalogue = [row(name, image=image) for name, image in images.items()]
    catalogue += [row("item:none"), row("video:0", image=png(1))]
    catalogue += [row("item:broken", image=png(1)[:40]), row("item:text", image=b"no image")]
    splits = {
        "train": [user_timeline(user) for user in range(USERS)],
        "catalogue": catalogue,
        "validation_pages": [page(user) for user in range(USERS)],
    }
    write_examples(path / "examples", splits)
    folders = run_transform(path / "examples", path / "transform")
    transform = tft.TFTransformOutput(str(folders["transform_graph"]))

    def files(split: str) -> list[str]:
        folder = folders["transformed_examples"] / f"Split-{split}"
        return sorted(str(name) for name in folder.glob("*"))

    data = TrainingData(transform, *map(files, ("train", "catalogue", "validation_pages")))
    return SimpleNamespace(data=data, images=images)
