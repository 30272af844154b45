"""Titles, queries and attributes by words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfx_pipeline.datasets.shop import words
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World
from transforms.arrow import pa


def item_titles(rng: np.random.Generator, world: World, items: Ints) -> list[str]:
    """Writes titles: brand, material, use and leaf with gaps, words that say nothing between.

    Args:
        rng: Source of randomness.
        world: The shop.
        items: [n] rows of items.

    Returns:
        n titles.
    """
    draw = rng.random((len(items), 5))
    noise = rng.integers(0, len(words.ADJECTIVES), (len(items), 2))
    synonym = rng.integers(0, words.WORDS_PER_LEAF, len(items))
    titles = []
    for row, item in enumerate(items):
        parts = []
        if draw[row, 0] < 0.8:
            parts.append(words.coined_name(int(world.item_brand[item])))
        parts.append(words.ADJECTIVES[noise[row, 0]])
        if draw[row, 1] < 0.5:
            parts.append(words.MATERIALS[world.item_material[item]])
        if draw[row, 2] < 0.7:
            parts.append(words.USES[world.item_use[item]])
        if draw[row, 3] < 0.95:
            parts.append(words.LEAF_WORDS[world.item_leaf[item]][synonym[row]])
        if draw[row, 4] < 0.4:
            parts.append(words.ADJECTIVES[noise[row, 1]])
        titles.append(" ".join(parts))
    return titles


def video_titles(rng: np.random.Generator, world: World, videos: Ints) -> list[str]:
    """Writes titles of videos: an opening, the theme's words, sometimes the maker."""
    opening = rng.integers(0, len(words.VIDEO_OPENINGS), len(videos))
    synonym = rng.integers(0, words.WORDS_PER_LEAF, len(videos))
    draw = rng.random((len(videos), 3))
    titles = []
    for row, video in enumerate(videos):
        parts = [words.VIDEO_OPENINGS[opening[row]]]
        if draw[row, 0] < 0.7:
            parts.append(words.USES[world.video_use[video]])
        if draw[row, 1] < 0.85:
            parts.append(words.LEAF_WORDS[world.video_leaf[video]][synonym[row]])
        if len(parts) == 1:
            parts.append("everyday finds")
        if draw[row, 2] < 0.3:
            parts.append("with " + words.coined_name(int(world.video_creator[video])))
        titles.append(" ".join(parts))
    return titles


def item_attributes(rng: np.random.Generator, world: World, items: Ints) -> list[list[str]]:
    """Lists brand and material, and for half of the items the use."""
    tells_use = rng.random(len(items)) < 0.5
    return [
        [
            f"brand={words.coined_name(int(world.item_brand[item]))}",
            f"material={words.MATERIALS[world.item_material[item]]}",
        ]
        + ([f"use={words.USES[world.item_use[item]]}"] if tells_use[row] else [])
        for row, item in enumerate(items)
    ]


def video_attributes(world: World, videos: Ints) -> list[list[str]]:
    """Lists the maker of each video."""
    return [[f"creator={words.coined_name(int(world.video_creator[v]))}"] for v in videos]


def user_attributes(told: Ints) -> list[list[str]]:
    """Lists what users tell; `told` is [n, 5] as in `Users.attributes`."""
    values = (words.AGES, words.HOUSEHOLDS, words.REGIONS, words.MEMBERSHIPS, words.DEVICES)
    names = ("age", "household", "region", "membership", "device")
    texts = [[f"{name}={value}" for value in of] for name, of in zip(names, values, strict=True)]
    return [[texts[c][v] for c, v in enumerate(row) if v >= 0] for row in told.tolist()]


def query_texts(asked: np.ndarray, leaf: Ints, word: Ints, use: Ints, brand: Ints) -> pa.Array:
    """Writes queries: brand, use and a word for the leaf.

    Args:
        asked: [n] whether there is a query at all.
        leaf: [n] leaf category.
        word: [n] which of its words.
        use: [n] use, -1 if unsaid.
        brand: [n] brand, -1 if unsaid.

    Returns:
        n strings, null where there is no query.
    """
    code = ((brand + 1) * (len(words.USES) + 1) + use + 1) * len(words.LEAF_WORDS) + leaf
    return decode(code * words.WORDS_PER_LEAF + word, _query, missing=~asked)


def _query(code: int) -> str:
    code, word = divmod(code, words.WORDS_PER_LEAF)
    code, leaf = divmod(code, len(words.LEAF_WORDS))
    brand, use = divmod(code, len(words.USES) + 1)
    parts = [words.coined_name(brand - 1)] if brand else []
    parts += [words.USES[use - 1]] if use else []
    return " ".join([*parts, words.LEAF_WORDS[leaf][word]])


def decode(codes: Ints, text: Callable[[int], str], missing: np.ndarray | None = None) -> pa.Array:
    """Returns the text of each code as strings; `text` is called once for each distinct one."""
    distinct, index = np.unique(codes, return_inverse=True)
    values = pa.array([text(code) for code in distinct.tolist()], pa.string())
    indices = pa.array(index.astype(np.int32), mask=missing)
    return pa.DictionaryArray.from_arrays(indices, values).cast(pa.string())
