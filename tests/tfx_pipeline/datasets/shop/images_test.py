"""Pictures: decodable, reproducible, and telling of style but not in any one pixel."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from PIL import Image

from tfx_pipeline.datasets.shop import ShopConfig
from tfx_pipeline.datasets.shop.catalogue import draw_world
from tfx_pipeline.datasets.shop.images import draw_images
from tfx_pipeline.datasets.shop.images import draw_pixels
from tfx_pipeline.datasets.shop.images import style_controls
from tfx_pipeline.datasets.shop.world import STYLE_DIM
from tfx_pipeline.datasets.shop.world import World


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float64) / 255


def _statistics(picture: np.ndarray) -> np.ndarray:
    """Colours, contrast and coarseness of the middle of a picture."""
    size = len(picture)
    middle = picture[size // 4 : -size // 4, size // 4 : -size // 4]
    across, along = (np.abs(np.diff(middle, axis=axis)).mean((0, 1)) for axis in (0, 1))
    return np.concatenate([middle.mean((0, 1)), middle.std((0, 1)), across, along])


def _explained(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns R^2 on held-out rows of a linear fit, column by column."""
    features = (features - features.mean(0)) / features.std(0)
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    train, test = slice(0, len(features) * 2 // 3), slice(len(features) * 2 // 3, None)
    inner = features[train].T @ features[train] + 3.0 * np.eye(features.shape[1])
    weights = np.linalg.solve(inner, features[train].T @ values[train])
    error = values[test] - features[test] @ weights
    return 1 - (error**2).mean(0) / values[test].var(0)


def test_catalogue_images_decode_and_tell_style(catalogue: pd.DataFrame, world: World) -> None:
    items = catalogue[catalogue.entity_type == "item"].set_index("entity_id")
    images = items.image[pd.Index(world.item_id.astype(str))]
    assert all(Image.open(io.BytesIO(data)).size == (32, 32) for data in images)
    assert catalogue.image.str.len().max() < 5_000
    features = np.stack([_statistics(_pixels(data)) for data in images])
    style = np.asarray(world.item_style)
    found = _explained(features, style)
    shuffled = _explained(features, np.random.default_rng(0).permutation(style))
    assert found.mean() > 0.1 and found.max() < 0.8
    assert shuffled.mean() < 0.03


def test_pictures_are_the_same_every_time(world: World) -> None:
    style = np.random.default_rng(1).standard_normal((40, STYLE_DIM))
    leaf = np.arange(40)
    one, two = (
        list(draw_images(np.random.default_rng(5), world, style, leaf, 24)) for _ in range(2)
    )
    assert one == two
    first = draw_pixels(np.random.default_rng(5), world, style, leaf, 24)
    assert first.shape == (40, 24, 24, 3) and first.dtype == np.uint8


def test_style_and_leaf_and_chance_all_show(world: World) -> None:
    style = np.zeros((1, STYLE_DIM))

    def draw(seed: int, shift: float, leaf: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return draw_pixels(rng, world, style + shift, np.array([leaf]), 32)[0].astype(float)

    base = draw(0, 0.0, 0)
    assert np.abs(base - draw(0, 1.5, 0)).mean() > 5
    assert np.abs(base - draw(0, 0.0, 7)).mean() > 5
    assert np.abs(base - draw(1, 0.0, 0)).mean() > 5
    frame = draw_pixels(np.random.default_rng(0), world, style, np.array([0]), 32, frame=True)[0]
    assert (frame[0] == 15).all() and (frame[-1] == 15).all()


def test_another_seed_has_another_eye() -> None:
    """A model cannot have seen the network, the silhouettes or the sways of a new seed."""
    one, two = (draw_world(ShopConfig(items=200, seed=seed)) for seed in (0, 1))
    rng = np.random.default_rng(3)
    style = rng.standard_normal((60, STYLE_DIM))
    correlation = np.corrcoef(
        style_controls(one, style).reshape(-1), style_controls(two, style).reshape(-1)
    )[0, 1]
    assert abs(correlation) < 0.3
    for name in ("leaf_silhouette", "age_sway", "household_sway", "region_style"):
        values = [np.asarray(getattr(world, name)).reshape(-1) for world in (one, two)]
        assert abs(np.corrcoef(*values)[0, 1]) < 0.5, name
