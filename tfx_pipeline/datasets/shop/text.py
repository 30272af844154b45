"""Titles, queries and attributes by words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfx_pipeline.datasets.shop import words
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World
from transforms.arrow import pa

NAVIGATED = words.WORDS_PER_LEAF  # in place of a word: the category was gone to, not asked for
_STYLE_SHARE = 0.3  # of titles have a word for the looks
_STYLE_HINT = 1.0  # how well it fits them


def item_titles(rng: np.random.Generator, world: World, items: Ints) -> list[str]:
    """Writes titles: brand, looks, material, use and leaf with gaps, and words without meaning.

    Titles alone tell the material, and some hint at the looks.

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
    looks = _style_words(rng, world, world.item_style[items])
    titles = []
    for row, item in enumerate(items):
        parts = []
        if draw[row, 0] < 0.8:
            parts.append(words.coined_name(int(world.item_brand[item])))
        parts.append(words.ADJECTIVES[noise[row, 0]])
        if looks[row] >= 0:
            parts.append(words.STYLES[looks[row]])
        if draw[row, 1] < 0.8:
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
    looks = _style_words(rng, world, world.video_style[videos])
    titles = []
    for row, video in enumerate(videos):
        parts = [words.VIDEO_OPENINGS[opening[row]]]
        if looks[row] >= 0:
            parts.append(words.STYLES[looks[row]])
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


def _style_words(rng: np.random.Generator, world: World, style: Floats) -> Ints:
    """Returns a word [n] that weakly fits each style [n, STYLE_DIM], -1 for most."""
    fit = np.einsum("nd,wd->nw", style, world.style_word_vector)
    word = np.argmax(_STYLE_HINT * fit + rng.gumbel(size=fit.shape), axis=1)
    return np.where(rng.random(len(style)) < _STYLE_SHARE, word, -1)


def item_attributes(rng: np.random.Generator, world: World, items: Ints) -> list[list[str]]:
    """Lists the brand, and for half of the items the use."""
    tells_use = rng.random(len(items)) < 0.5
    return [
        [f"brand={words.coined_name(int(world.item_brand[item]))}"]
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
    """Writes queries: brand, use and a word for the leaf; `category=LEAF` for a place gone to.

    Args:
        asked: [n] whether there is a query at all.
        leaf: [n] leaf category.
        word: [n] which of its words, or NAVIGATED.
        use: [n] use, -1 if unsaid.
        brand: [n] brand, -1 if unsaid.

    Returns:
        n strings, null where there is no query.
    """
    code = ((brand + 1) * (len(words.USES) + 1) + use + 1) * len(words.LEAF_WORDS) + leaf
    return decode(code * (NAVIGATED + 1) + word, _query, missing=~asked)


def _query(code: int) -> str:
    code, word = divmod(code, NAVIGATED + 1)
    code, leaf = divmod(code, len(words.LEAF_WORDS))
    if word == NAVIGATED:
        return f"category={words.LEAVES[leaf][1]}"
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
