"""Recall of searches of histories, by codes, hashes and cells, against the exact search.

    python -m benchmarks.pq_recall

SEMINAR, trained for a few minutes on MovieLens-1M (`benchmarks.learned_items`), searches the
histories of the 200 users with the most events for the 50 events that each of 4 heads scores
highest. Rows:

- `codes`: product-quantised codes, so many sub-vectors of each channel, so many centroids of each.
- `hashes`: signs of as many random projections as codes have bits, of an item and of what a head
  multiplies items with.
- `cells`: the exact search among the `events` of the cells that the request's candidates attend to
  most, for 1 candidate and for 100 random items.

`recall` is the share of the exact 50 that is found. `error` is the length of the difference that
this makes to the attention's heads, relative to their own; what is found is attended to by its
vectors.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np

from benchmarks.learned_items import STEPS
from benchmarks.learned_items import LearnedItems
from benchmarks.learned_items import learned_items
from benchmarks.results import Label
from benchmarks.results import Results
from benchmarks.results_table import render

NAME = "pq_recall"
TOP_K, USERS = 50, 200
SUB_VECTORS, CENTROIDS = (4, 8, 16), (64, 256, 512)
CELLS, EVENTS, CANDIDATES = (256, 1024), (100, 200, 400), (1, 100)
COLUMNS = ("search", "sub_vectors", "centroids", "cells", "events", "candidates")
MEASURED = ("bits_per_event", "recall", "error")

# Scores of events [L] by [C] candidates: [C, H, L]; the least float32 is never found.
Scores = Callable[[np.ndarray, np.ndarray], np.ndarray]


def requests(learned: LearnedItems, candidates: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the events [L] and the candidates [C] of each user's request."""
    number = (learned.histories > 0).sum(axis=1)
    rng = np.random.default_rng(0)
    for user in np.argsort(-number, kind="stable")[:USERS]:
        events = learned.histories[user, : number[user]]
        others = rng.integers(1, len(learned.channels), candidates - 1)
        yield events, np.concatenate([learned.candidates[user : user + 1], others])


def measure(learned: LearnedItems, scores: Scores, candidates: int = 1) -> dict[str, float]:
    """Returns recall and error of a search, over all requests, candidates and heads."""
    exact = exact_scores(learned)
    recall, error = [], []
    for events, asked in requests(learned, candidates):
        logits = exact(events, asked)
        best, found = _top(logits), _top(given := scores(events, asked))
        there = np.take_along_axis(given, found, axis=-1) > np.finfo(np.float32).min
        hits = (best[..., None] == np.where(there, found, -1)[..., None, :]).any(axis=-1)
        recall.append(hits.mean())
        values = learned.values[events]  # [L, H, c]
        own, other = (
            _attend(logits, index, seen, values)
            for index, seen in ((best, np.ones_like(there)), (found, there))
        )
        error.append(np.linalg.norm(other - own) / np.linalg.norm(own))
    return {"recall": float(np.mean(recall)), "error": float(np.mean(error))}


def _top(scores: np.ndarray) -> np.ndarray:
    """Returns the positions of the greatest scores, [C, H, K]."""
    return np.argsort(-scores, axis=-1, kind="stable")[..., :TOP_K]


def _attend(
    logits: np.ndarray, found: np.ndarray, there: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Attends to what was found: [C, H, c]."""
    odds = np.where(there, np.take_along_axis(logits, found, axis=-1), -np.inf)
    weights = np.exp(odds - odds.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    heads = np.arange(values.shape[1])[:, None]
    return np.einsum("ihk,ihkc->ihc", weights, values[found, heads])


def exact_scores(learned: LearnedItems) -> Scores:
    """Returns the exact search."""
    return product_scores(learned, learned.channels)


def product_scores(learned: LearnedItems, channels: np.ndarray) -> Scores:
    """Returns the search by products with other channels [V + 1, M, d] of items."""
    return lambda events, asked: np.einsum(
        "ihmd,lmd->ihl", learned.vectors[asked], channels[events], optimize=True
    )


def code_scores(learned: LearnedItems, sub_vectors: int, centroids: int) -> Scores:
    """Returns the search by codes: the sum of table entries is a product with the centroids."""
    import tensorflow as tf

    from models.layers.product_quantisation import ProductQuantiser

    _, channels, dim = learned.channels.shape
    quantiser = ProductQuantiser(channels, dim, sub_vectors, centroids)
    quantiser.fit(list(learned.channels[1:].transpose(1, 0, 2)))
    coded = quantiser.decode(quantiser.encode(tf.constant(learned.channels)))
    return product_scores(learned, coded.numpy())


def hash_scores(learned: LearnedItems, bits: int) -> Scores:
    """Returns the search by the Hamming distance of sign hashes."""
    from models.layers.sign_hash import SignHash

    size, heads = learned.vectors.shape[:2]
    layer = SignHash(bits)
    items = layer(learned.channels.reshape(size, -1)).numpy()
    vectors = layer(learned.vectors.reshape(size, heads, -1)).numpy()
    return lambda events, asked: vectors[asked] @ items[events].T


def cell_scores(learned: LearnedItems, cells: int, events: int) -> Scores:
    """Returns the exact search among the events of the best cells."""
    import tensorflow as tf

    from models.layers.coarse_cells import CoarseCells

    size, heads = learned.vectors.shape[:2]
    items = learned.channels.reshape(size, -1)
    kernel = np.tile(np.eye(items.shape[1], dtype=np.float32), [1, heads])  # folded into vectors
    layer = CoarseCells(size, items.shape[1] * heads, heads, cells, events)
    layer.fit(items, kernel)
    exact = exact_scores(learned)

    def scores(history: np.ndarray, asked: np.ndarray) -> np.ndarray:
        vectors = tf.constant(learned.vectors[asked].reshape(len(asked), heads, -1))
        row, mask = tf.zeros([len(asked)], tf.int64), tf.ones([1, len(history)])
        found = layer(vectors, row, tf.constant(history[None]), mask)[0].numpy()[0]
        least = np.full([len(asked), heads, len(history)], np.finfo(np.float32).min)
        least[..., found] = exact(history, asked)[..., found]
        return least

    return scores


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="train and measure anew")
    fresh = parser.parse_args().fresh
    results = Results(NAME, f"python -m benchmarks.{NAME}", fresh)
    learned = learned_items(fresh)
    channels = learned.channels.shape[1]

    def keep(key: dict[str, Label], bits: int, scores: Callable[[], Scores], number: int) -> None:
        def run() -> dict[str, float]:
            return measure(learned, scores(), number) | {"bits_per_event": bits}

        results.measure(key, 0, run, {"steps": STEPS, "users": USERS})

    for parts, centroids in product(SUB_VECTORS, CENTROIDS):
        bits = channels * parts * (centroids - 1).bit_length()
        size: dict[str, Label] = {"sub_vectors": parts, "centroids": centroids}
        by_codes = partial(code_scores, learned, parts, centroids)
        keep({"search": "codes", **size}, bits, by_codes, 1)
        keep({"search": "hashes", **size}, bits, partial(hash_scores, learned, bits), 1)
    for cells, events, number in product(CELLS, EVENTS, CANDIDATES):
        size = {"cells": cells, "events": events, "candidates": number}
        keep({"search": "cells", **size}, 16, partial(cell_scores, learned, cells, events), number)
    print(render(results.path, (*COLUMNS, *MEASURED)))


if __name__ == "__main__":
    main()
