"""A catalogue of random items of any number, for measuring the time of a step."""

from __future__ import annotations

from typing import Any

import numpy as np

CATEGORIES, WORDS, TITLE = 200, 5_000, 6


def random_catalogue(items: int) -> tuple[Any, Any, np.ndarray]:
    """Makes items that each have a category and title words, and a power law of popularity.

    Returns:
        The `VocabularySizes`, the `CatalogueTable` and [items + 1] float, the targets of each item.
    """
    from models.input.catalogue import CatalogueTable
    from models.input.vocabulary_sizes import VocabularySizes

    generator = np.random.default_rng(0)
    features = {
        "categories": generator.integers(1, CATEGORIES, (items + 1, 1), np.int32),
        "title": generator.integers(1, WORDS, (items + 1, TITLE), np.int32),
    }
    ids = np.arange(1, items + 1)
    table = CatalogueTable(ids, np.full(items, b"item"), features)
    sizes = VocabularySizes(entity=items + 1, category=CATEGORIES, title_token=WORDS)
    return sizes, table, np.concatenate([[0.0], 1.0 / (ids + 10.0)])


def draw_items(generator: np.random.Generator, items: int, shape: tuple[int, ...]) -> np.ndarray:
    """Draws items from 1 to `items` by the power law."""
    weights = 1.0 / (np.arange(items) + 10.0)
    edges = np.cumsum(weights / weights.sum())
    return np.minimum(np.searchsorted(edges, generator.random(shape)), items - 1) + 1
