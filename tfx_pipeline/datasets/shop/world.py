"""The shop's entities as arrays: all that is true of them, seen by users or not."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfx_pipeline.datasets.shop.config import DAY
from tfx_pipeline.datasets.shop.config import ShopConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAF_DIM = 12
USE_DIM = 6
STYLE_DIM = 6
MAX_SHOWN = 5  # items that a video may show
PERIOD_DAYS = 5  # popularity is constant for so long

CONFIG_NAME = "config.json"


@dataclass(frozen=True)
class World:
    """Latent and visible properties of the shop; row i of `item_*` is item i.

    A topic has two blocks, each of unit length: what a thing is (LEAF_DIM) and
    what it is for (USE_DIM). L leaves, A uses, B brands, C creators, N items,
    V videos, P periods.

    Attributes:
        leaf_vector: [L, LEAF_DIM] place of a leaf category.
        leaf_visual: [L] how much looks count there.
        leaf_share: [L] share of the items.
        leaf_neighbours: [L, 4] the closest other leaves.
        use_vector: [A, USE_DIM] place of a use.
        age_sway: [ages, departments] how much more a department draws an age.
        household_sway: [households, A] the same for uses and households.
        region_style: [regions, STYLE_DIM] what a region's taste leans to.
        style_word_vector: [words, STYLE_DIM] the looks that a word hints at.
        look_first, look_second, look_third: the network from styles to pictures,
            [STYLE_DIM, H], [H, H] and [H, controls].
        leaf_silhouette: [L, 5] the outline of a leaf's pictures.
        brand_leaf: [B] home leaf of a brand; it sells in that department.
        item_leaf, item_use, item_brand, item_material: [N] indices.
        item_topic: [N, LEAF_DIM + USE_DIM] topic.
        item_style: [N, STYLE_DIM] latent style, unit variance.
        item_price: [N] price in whole cents, as a decimal number.
        item_price_level: [N] standardised log price within the leaf.
        item_quality: [N] standard normal.
        item_launch: [N] microseconds since the log's start, negative if before it.
        item_id: [N] number that the log knows the item by.
        item_popularity: [P, N] standardised log popularity in each period.
        item_weight: [P, N] popularity as a positive weight, a power law.
        video_items: [V, MAX_SHOWN] items shown, -1 for none.
        video_leaf, video_use, video_creator: [V] theme and maker.
        video_topic, video_style, video_quality, video_launch, video_id,
            video_popularity, video_weight: as for items; quality is the
            presentation's.
    """

    leaf_vector: Floats
    leaf_visual: Floats
    leaf_share: Floats
    leaf_neighbours: Ints
    use_vector: Floats
    age_sway: Floats
    household_sway: Floats
    region_style: Floats
    style_word_vector: Floats
    look_first: Floats
    look_second: Floats
    look_third: Floats
    leaf_silhouette: Floats
    brand_leaf: Ints
    item_leaf: Ints
    item_use: Ints
    item_brand: Ints
    item_material: Ints
    item_topic: Floats
    item_style: Floats
    item_price: Floats
    item_price_level: Floats
    item_quality: Floats
    item_launch: Ints
    item_id: Ints
    item_popularity: Floats
    item_weight: Floats
    video_items: Ints
    video_leaf: Ints
    video_use: Ints
    video_creator: Ints
    video_topic: Floats
    video_style: Floats
    video_quality: Floats
    video_launch: Ints
    video_id: Ints
    video_popularity: Floats
    video_weight: Floats

    def save(self, directory: Path, config: ShopConfig) -> None:
        """Writes the arrays as npy files, and the configuration beside them."""
        directory.mkdir(parents=True, exist_ok=True)
        for field in dataclasses.fields(self):
            np.save(directory / f"{field.name}.npy", getattr(self, field.name), allow_pickle=False)
        text = json.dumps(config.model_dump(mode="json"), indent=2)
        Path(directory, CONFIG_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> World:
        """Maps the arrays that `save` wrote.

        Raises:
            FileNotFoundError: If an array is not there.
        """
        arrays = {}
        for field in dataclasses.fields(cls):
            path = directory / f"{field.name}.npy"
            if not path.is_file():
                raise FileNotFoundError(
                    f"`{path}` is missing, so this is not the truth of a simulated shop of this "
                    f"version. Make the shop again with `vitrine data prepare shop`."
                )
            # A plain view of the mapped file: indexing a `memmap` itself is slow.
            arrays[field.name] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        return cls(**arrays)


def load_config(directory: Path) -> ShopConfig:
    """Reads the configuration that a world was made with."""
    return ShopConfig.model_validate_json(Path(directory, CONFIG_NAME).read_bytes())


def unit(vectors: Floats) -> Floats:
    """Scales vectors to length one along the last axis; zero vectors stay zero."""
    length = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))[..., None]
    return vectors / np.where(length > 0, length, 1.0)


def settle(values: Floats) -> Floats:
    """Rounds parameters to six decimals, past anything that differs between machines."""
    return np.round(values, 6) + 0.0


def period_of(time: Ints) -> Ints:
    """Returns the popularity period of times in microseconds since the log's start."""
    return np.maximum(time, 0) // (PERIOD_DAYS * DAY)


def periods(config: ShopConfig) -> int:
    """Returns how many popularity periods the log has."""
    return -(-config.days // PERIOD_DAYS)
