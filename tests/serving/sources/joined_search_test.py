"""The search over several sources without a servable, on tables made by hand."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from serving.index import files
from serving.index.searching.exact import ExactIndex
from serving.sources import features as f
from serving.sources import joined
from serving.sources.combination import Settings
from serving.sources.config import UnionConfig
from serving.sources.history import History
from serving.sources.joined import JoinedSearch
from serving.sources.tables import SourceTables
from tests.helpers.sources import weights_of

N, DIM, K = 30, 4, 6
LATER = 1_000
MOMENT = 500
VECTORS = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)
QUERIES = np.random.default_rng(1).normal(size=(9, DIM)).astype(np.float32)


def make(weights, lists=None, available_from=None, size=N, **union):
    """A search whose lists are {row: [(row, weight), ...]}; rows of a low number are popular."""
    width = max([1, *(len(one) for one in (lists or {}).values())])
    neighbours, weight = np.zeros((size, width), np.int32), np.zeros((size, width), np.float16)
    for row, listed in (lists or {}).items():
        neighbours[row, : len(listed)], weight[row, : len(listed)] = zip(*listed, strict=True)
    tables = SourceTables([], neighbours, weight, np.arange(size)[::-1].copy(), available_from)
    counts = {"tower": K, "neighbours": 1, "repeats": 1, "popularity": 2, "freshness": 0} | union
    settings = Settings(newest_events=2, union=UnionConfig(**counts))
    return JoinedSearch(ExactIndex(VECTORS[:size], K, available_from), tables, settings, weights, K)


def arguments(query, own=3, moment=MOMENT):
    batch = len(query)
    history = History(
        tf.fill([batch, 1], own),
        tf.fill([batch, 1], "view"),
        tf.fill([batch, 1], tf.constant(7, tf.int64)),
        tf.ones([batch], tf.int64),
    )
    nothing = tf.zeros([batch, 0], tf.int32)
    when = tf.fill([batch], tf.constant(moment, tf.int64))
    return {"embedding": tf.constant(query)}, nothing, history, when


def search(made, query, **more):
    return [one.numpy() for one in made.search(*arguments(query, **more))]


def test_a_query_that_is_no_number_has_no_answer_and_leaves_the_others_theirs():
    made = make(weights_of(tower=1.0), {3: [(5, 0.5)]})
    query = QUERIES[:3].copy()
    query[1, 2] = np.nan
    rows, scores, bits = search(made, query)
    assert (rows[1] == -1).all() and np.isneginf(scores[1]).all() and (bits[1] == 0).all()
    alone = search(made, QUERIES[:1])
    assert rows[0].tolist() == alone[0][0].tolist() and (rows[2] >= 0).all()
    assert np.isfinite(scores[[0, 2]]).all() and (bits[[0, 2]] > 0).all()


def test_padding_was_brought_by_no_source():
    found = make(weights_of(tower=1.0), size=4).describe(*arguments(QUERIES[:2], own=-1))
    padding = found.rows.numpy() < 0
    assert padding.any() and (found.sources.numpy()[padding] == 0).all()
    assert (found.sources.numpy()[~padding] & 1).all()


def test_a_catalogue_smaller_than_the_results_leaves_a_tail():
    rows, scores, bits = search(make(weights_of(tower=1.0), size=4), QUERIES[:1], own=-1)
    assert rows.shape == (1, K) and sorted(rows[0, :4]) == [0, 1, 2, 3]
    assert rows[0, 4:].tolist() == [-1, -1] and bits[0, 4:].tolist() == [0, 0]
    assert np.isneginf(scores[0, 4:]).all()


def test_neighbours_that_are_not_available_take_no_slot():
    order = np.argsort(-(VECTORS @ QUERIES[0]))
    last, late = int(order[-1]), order[6:26]  # the tower brings none of them
    dates = np.full(N, files.ALWAYS)
    dates[late] = LATER
    lists = {int(order[0]): [*((int(row), 0.75) for row in late), (last, 0.25)]}
    made = make(weights_of(neighbours=1.0), lists, dates, popularity=0)
    rows, _, bits = search(made, QUERIES[:1], own=int(order[0]))
    assert rows[0, 0] == last and bits[0, 0] == 2
    assert not set(rows[0].tolist()) & set(late.tolist())
    # A neighbour's share is still that of all, so that scores do not move with the dates.
    found = made.describe(*arguments(QUERIES[:1], own=int(order[0])))
    share = found.features.numpy()[found.rows.numpy() == last, f.FEATURES.index(f.NEIGHBOURS)]
    np.testing.assert_allclose(share, np.log1p(0.25 / (20 * 0.75 + 0.25) / 1e-4), rtol=1e-4)


def test_without_a_moment_everything_is_available():
    dates = np.full(N, files.ALWAYS)
    dates[5] = LATER
    made = make(weights_of(freshness=0.0, popularity=0.0, neighbours=1.0), {3: [(5, 0.5)]}, dates)
    assert search(made, QUERIES[:1], moment=0)[0][0, 0] == 5
    assert 5 not in search(made, QUERIES[:1], moment=MOMENT)[0]
    found = made.describe(*arguments(QUERIES[:1], moment=0))
    for name in (f.FRESHNESS, f.REPEAT_RECENCY):
        assert (found.features.numpy()[:, :, f.FEATURES.index(name)] == 0).all()


def test_a_batch_in_parts_is_answered_as_a_whole(monkeypatch):
    made = make(weights_of(tower=1.0, neighbours=0.1), {3: [(5, 0.5)]})
    whole = search(made, QUERIES)
    calls = []
    chunked = joined.in_chunks

    def in_parts(function, inputs, outputs, rows):
        calls.append(rows)
        return chunked(function, inputs, outputs, 2)  # 9 queries are five parts

    monkeypatch.setattr(joined, "in_chunks", in_parts)
    for one, other in zip(whole, search(made, QUERIES), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert len(calls) == 1
