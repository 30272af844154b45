"""Factors of the graph of users and entities: what lies more than one hop away."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from models.input.timeline_files import parsed_timelines
from models.input.timeline_files import timeline_records
from models.input.timelines import context_lengths
from models.input.timelines import known_events
from models.training.data import TrainingData
from transforms import features as f

_STDDEV = 0.05  # as that of tables that start at random


def edges_of(data: TrainingData) -> tuple[np.ndarray, np.ndarray]:
    """Reads the edges between users and known entities off the training timelines.

    A chunk of a long timeline is a user of its own.

    Args:
        data: What is learned from.

    Returns:
        [E] int64 users and [E] int64 entities; an edge may be there several times.

    Raises:
        ValueError: There is no file.
    """
    users, entities, before = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    records = timeline_records(data.train_files)
    for timelines in parsed_timelines(records, data.spec, 1024, (f.EVENT_ENTITY,)):
        timelines = known_events(timelines)
        events = timelines[f.EVENT_ENTITY]
        row = events.value_rowids().numpy()
        rank = np.arange(len(row)) - events.row_starts().numpy()[row]
        is_new = rank >= context_lengths(timelines).numpy()[row]
        users.append(before + row[is_new])
        entities.append(events.flat_values.numpy()[is_new])
        before += int(events.nrows())
    return np.concatenate(users), np.concatenate(entities)


def graph_factors(
    users: np.ndarray,
    entities: np.ndarray,
    size: int,
    rank: int,
    exponent: float = 0.25,
    seed: int = 0,
) -> np.ndarray:
    """Factorises the graph of users and entities.

        A[u, e] = (m[u] n[e])^-a where there is an edge, with m and n the edges of each
        A      ~= U S V',   out = c V

    The singular vectors of the greatest singular values are where propagation over the graph
    comes to rest: (A'A)^h X, h hops there and back, tends to them whatever X is. Entities
    of both kinds are in one space, those of users without a candidate among them. With a = 1/2
    A is what LightGCN propagates with (He et al. 2020, eq. 3); less of it leaves popular
    entities longer.

    Args:
        users: [E] int64, of each edge.
        entities: [E] int64, of each edge; which are there several times counts once.
        size: V + 1, the greatest entity plus one.
        rank: d.
        exponent: a.
        seed: Of the first vector of Lanczos's iterations.

    Returns:
        [V + 1, d] float32, c such that the values of entities with edges have the deviation .05;
        zeros for entities without edges.

    Raises:
        ValueError: There are not more users and entities than d.
    """
    _, row = np.unique(users, return_inverse=True)
    shape = (int(row.max(initial=-1)) + 1, size)
    graph = sparse.csr_matrix((np.ones(len(row), np.float32), (row, entities)), shape)
    graph.data[:] = 1.0
    degree = [np.asarray(graph.sum(axis=axis), np.float32).ravel() for axis in (1, 0)]
    smaller = min(int((each > 0).sum()) for each in degree)
    if rank >= smaller:
        raise ValueError(
            f"A graph of {smaller} users or entities with edges has fewer than {rank} factors. "
            f"Choose `dim` below {smaller}, or `start: random`."
        )
    left, right = (sparse.diags(np.maximum(each, 1.0) ** -exponent) for each in degree)
    _, values, vectors = svds(left @ graph @ right, k=rank, random_state=seed)
    vectors = vectors[np.argsort(-values)]  # [d, V + 1]
    greatest = np.argmax(np.abs(vectors), axis=1)
    vectors *= np.sign(vectors[np.arange(rank), greatest])[:, None]  # the same on all workers
    linked = degree[1] > 0
    vectors[:, ~linked] = 0.0  # what rounding leaves
    root = np.sqrt(np.mean(np.square(vectors[:, linked])))
    return np.ascontiguousarray(vectors.T * (_STDDEV / root), np.float32)
