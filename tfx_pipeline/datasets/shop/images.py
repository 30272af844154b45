"""Draws the pictures of the catalogue.

A picture shows one silhouette on a plain ground. The kind of thing gives the
silhouette; the latent style gives palette, pattern and texture, by a network
with two hidden layers and with noise, so that style is in the picture but not
in any one pixel. Silhouettes and network are the world's, another for every
seed. Place, size, turn, light and ground are nuisance.

Pixels are made with sums, products, quotients, roots and rounding alone, which
give the same bits on every machine.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tfx_pipeline.datasets.shop.world import STYLE_DIM
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World
from tfx_pipeline.datasets.shop.world import settle

STYLE_NOISE = 0.25
_HIDDEN = 24
_CONTROLS = 12
_PATTERNS = 4
_QUALITY = 88  # of the JPEG encoding
_BATCH = 32

Pixels = NDArray[np.float32]


def draw_looks(rng: np.random.Generator, leaves: int) -> dict[str, Any]:
    """Draws what turns styles and leaves into pictures: the fields `look_*` of the world."""
    sides = ((STYLE_DIM, _HIDDEN), (_HIDDEN, _HIDDEN), (_HIDDEN, _CONTROLS))
    first, second, third = (rng.standard_normal(side) / np.sqrt(side[0]) for side in sides)
    return {
        "look_first": settle(first),
        "look_second": settle(second),
        "look_third": settle(third),
        "leaf_silhouette": settle(rng.random((leaves, 5))),
    }


def draw_images(
    rng: np.random.Generator,
    world: World,
    style: Floats,
    leaf: Ints,
    size: int,
    frame: bool = False,
) -> Iterator[bytes]:
    """Draws pictures.

    Args:
        rng: Source of randomness.
        world: The shop.
        style: [n, STYLE_DIM] latent styles.
        leaf: [n] leaf categories, which give the silhouettes.
        size: Height and width in pixels.
        frame: Whether to draw the dark bars of a video's cover.

    Yields:
        n JPEG files.
    """
    for start in range(0, len(style), _BATCH):
        rows = slice(start, start + _BATCH)
        for pixels in draw_pixels(rng, world, style[rows], leaf[rows], size, frame):
            file = io.BytesIO()
            Image.fromarray(pixels, "RGB").save(file, "JPEG", quality=_QUALITY, subsampling=0)
            yield file.getvalue()


def draw_pixels(
    rng: np.random.Generator,
    world: World,
    style: Floats,
    leaf: Ints,
    size: int,
    frame: bool = False,
) -> NDArray[np.uint8]:
    """Draws pictures as pixels [n, size, size, 3]; see `draw_images`."""
    n = len(style)
    controls = style_controls(world, style + STYLE_NOISE * rng.standard_normal(style.shape))
    nuisance = rng.random((n, 8, 1, 1), np.float32)
    grain = rng.random((n, size, size), np.float32) - 0.5
    axis = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    x, y = np.broadcast_arrays(axis[None, None, :], axis[None, :, None])
    x = (x + 0.25 * (nuisance[:, 0] - 0.5)) * (1.0 + 0.3 * nuisance[:, 2])
    y = (y + 0.25 * (nuisance[:, 1] - 0.5)) * (1.0 + 0.3 * nuisance[:, 2])
    slant = 0.3 * (nuisance[:, 3] - 0.5)
    x, y = x + slant * y, y - slant * x
    inside = _silhouette(x, y, world.leaf_silhouette[leaf])[..., None]
    one, two = _palette(controls)
    mix = _pattern(x, y, controls)[..., None]
    cloth = one * (1 - mix) + two * mix
    cloth = cloth + (0.35 * _control(controls, 11) * grain)[..., None]
    light = 1.0 + 0.25 * (nuisance[:, 4] - 0.5) * x + 0.25 * (nuisance[:, 5] - 0.5) * y
    ground = 0.75 + 0.25 * nuisance[:, 6:7]
    ground = ground - 0.12 * nuisance[:, 7:8] * np.array([0.0, 0.5, 1.0], np.float32)
    picture = (inside * cloth + (1 - inside) * ground) * light[..., None]
    if frame:
        bar = max(1, size // 10)
        picture[:, :bar], picture[:, -bar:] = 0.06, 0.06
    return np.clip(np.floor(picture * 255 + 0.5), 0, 255).astype(np.uint8)


def style_controls(world: World, style: Floats) -> Pixels:
    """Returns the drawing parameters [n, 12] in (0, 1) of (noisy) styles [n, STYLE_DIM].

    sigmoid(3.5 W3 tanh(1.8 W2 tanh(1.2 W1 s))), with the world's weights.
    """
    hidden = np.tanh(1.2 * np.einsum("nd,dh->nh", style, world.look_first))
    hidden = np.tanh(1.8 * np.einsum("nh,hk->nk", hidden, world.look_second))
    output = np.einsum("nh,hc->nc", hidden, world.look_third)
    return settle(1 / (1 + np.exp(-3.5 * output))).astype(np.float32)


def _control(controls: Pixels, index: int) -> Pixels:
    return controls[:, index, None, None]


def _wave(phase: NDArray[Any]) -> Pixels:
    """A triangle wave from 0 to 1 and back with period 1."""
    return np.abs(2 * (phase - np.floor(phase)) - 1)


def _hue(hue: Pixels, saturation: Pixels, brightness: Pixels) -> Pixels:
    """Returns colours [n, 1, 1, 3]; `hue` goes once round the circle from 0 to 1."""
    wheel = hue[:, None] + np.array([0.0, 1 / 3, 2 / 3], np.float32)
    channel = np.clip(3 * _wave(wheel) - 1, 0, 1)
    colour = brightness[:, None] * (1 - saturation[:, None] * (1 - channel))
    return colour[:, None, None, :]


def _palette(controls: Pixels) -> tuple[Pixels, Pixels]:
    """Returns the two colours of each picture [n, 1, 1, 3]."""
    saturation, brightness = 0.15 + 0.8 * controls[:, 1], 0.3 + 0.65 * controls[:, 2]
    one = _hue(controls[:, 0], saturation, brightness)
    contrast = 0.55 + 0.9 * np.abs(controls[:, 4] - 0.5)
    second_hue = controls[:, 0] + 0.5 * controls[:, 3]
    return one, _hue(second_hue, 1.1 - saturation, np.clip(1.25 - brightness * contrast, 0.1, 1))


def _pattern(x: Pixels, y: Pixels, controls: Pixels) -> Pixels:
    """Returns where the second colour shows [n, h, w]: stripes, checks, dots or waves."""
    rate = 1.0 + 4.0 * _control(controls, 5)
    turn = 2 * _control(controls, 6) - 1
    u, v = rate * (x + turn * y), rate * (y - turn * x)
    softness = 2.0 + 6.0 * _control(controls, 7)
    stripes = _wave(u)
    checks = np.abs(_wave(u) + _wave(v) - 1)
    fu, fv = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
    dots = 1 - 2 * np.sqrt(fu * fu + fv * fv)
    waves = _wave(u + 0.6 * _wave(v))
    kind = np.argmax(controls[:, 7 : 7 + _PATTERNS], axis=1)[:, None, None]
    raw = np.choose(kind, [stripes, checks, dots, waves])
    share = 0.2 + 0.6 * _control(controls, 4)
    return np.clip(softness * (raw - share) + 0.5, 0, 1)


def _silhouette(x: Pixels, y: Pixels, outline: Floats) -> Pixels:
    """Returns the share of each pixel [n, h, w] that the thing of an outline [n, 5] covers."""
    table = outline.astype(np.float32)[:, :, None, None]
    width, height = 0.45 + 0.4 * table[:, 0], 0.45 + 0.4 * table[:, 1]
    waist = width * (1 - 0.6 * table[:, 2] * _wave(0.5 + 0.5 * y * (0.5 + table[:, 3])))
    across, along = np.abs(x) / waist, np.abs(y) / height
    box = np.maximum(across, along)
    ball = np.sqrt(across * across + along * along)
    rounded = table[:, 4] * box + (1 - table[:, 4]) * ball
    return np.clip((1 - rounded) * 12 + 0.5, 0, 1)
