"""How alike a candidate and the history are by given vectors."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from models.layers.candidate_tower import CandidateTower
from models.layers.page_layout import by_page
from models.layers.page_layout import of_candidates
from models.layers.page_layout import places
from models.ranking.features import PageView


def similarities(view: PageView, items: CandidateTower, names: Iterable[str]) -> list[tf.Tensor]:
    """Returns `similarity` by each of some vectors, [I, 2] float32 each."""
    return [similarity(view, items, name) for name in names]


def similarity(view: PageView, items: CandidateTower, name: str) -> tf.Tensor:
    """Compares candidates with the events of their pages.

        [ mean over t of cos(v(c), v(e[t])) ; max over t of cos(v(c), v(e[t])) ]

    over the events whose item has a vector, the SimScore of COURIER (Yang et al. 2023,
    https://arxiv.org/abs/2306.05001). A candidate without a vector has zeros, and so has one
    whose history has none. The vectors are no weights: nothing is learned of them.

    Args:
        view: I candidates and what they are judged by.
        items: Knows the vectors of the catalogue.
        name: Of the vectors, e.g. `vector/style`.

    Returns:
        [I, 2] float32.
    """
    if name not in view.catalogue:  # no item of the log has one
        return tf.zeros([tf.size(view.row), 2])
    pages, place = tf.shape(view.mask)[0], places(view.row, tf.shape(view.mask)[0])
    own = by_page(tf.math.l2_normalize(view.catalogue[name], axis=1), place, pages)  # [P, C, w]
    before = tf.math.l2_normalize(items.look_up_one(name, view.events), axis=2)  # [P, T, w]
    there = tf.reduce_any(tf.not_equal(before, 0.0), axis=2) & (view.mask > 0.0)  # [P, T]
    cosine = tf.matmul(own, before, transpose_b=True)  # [P, C, T]
    count = tf.reduce_sum(tf.cast(there, tf.float32), axis=1)[:, None]  # [P, 1]
    kept = there[:, None]
    total = tf.reduce_sum(tf.where(kept, cosine, 0.0), axis=2)
    most = tf.reduce_max(tf.where(kept, cosine, -1.0), axis=2)
    found = tf.stack([total / tf.maximum(count, 1.0), tf.where(count > 0.0, most, 0.0)], axis=2)
    return of_candidates(found, place)
