"""Embeddings by counting, factorisation, LightGCN and ComiRec, which others have to beat.

Every function takes the known part of a divided log and gives embeddings of all of its users
[U, d] and items [N, d], in one space. Factorisations share the singular values evenly: of
M = U S V' one side is U sqrt(S) and the other V sqrt(S), whose dot product is the truncated M.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

from tfx_pipeline.evaluation.embeddings.log import DividedLog
from tfx_pipeline.evaluation.embeddings.suite import constant_embeddings
from tfx_pipeline.evaluation.embeddings.suite import random_embeddings
from tfx_pipeline.evaluation.embeddings.task import unit
from tfx_pipeline.evaluation.embeddings.vectors import Embeddings
from tfx_pipeline.evaluation.embeddings.vectors import Vectors

DIM = 64
WINDOW = 5  # events between two items that count as seen together
SHIFT = 1.0  # log of the negatives of item2vec; 0 for one
NEWEST = 50  # events that make a user, where the order counts
TENTHS = 10
LAYERS = 2  # of LightGCN's propagation
# How what is trained is trained, found on a division of the known part.
TRAINING: dict[str, dict[str, Any]] = {
    "lightgcn": {"epochs": 12, "temperature": 0.1, "learning_rate": 0.01, "batch_size": 16_384},
    "comirec": {"epochs": 15, "interests": 4, "learning_rate": 0.003, "batch_size": 1_024},
}

Baseline = Callable[[DividedLog, int], Embeddings]


def counts(log: DividedLog, seed: int) -> Embeddings:
    """Counts: how much users did and items got, and how common and how liked it was.

    Of a user: log events, the mean and deviation of values, and the shares of events by deciles
    of the items' popularity. Of an item: the same of its own events, its decile among the last.
    """
    del seed
    events = log.known
    popularity = np.bincount(events.item, minlength=len(log.items))
    rank = np.argsort(np.argsort(popularity, kind="stable"), kind="stable")
    tenth = rank * TENTHS // len(log.items)
    value = np.nan_to_num(events.value)
    sides = []
    for row, count in ((events.user, len(log.users)), (events.item, len(log.items))):
        number = np.bincount(row, minlength=count)
        least = np.maximum(number, 1)
        mean = np.bincount(row, value, count) / least
        square = np.bincount(row, value**2, count) / least
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        cell = row * TENTHS + tenth[events.item]
        shares = np.bincount(cell, minlength=count * TENTHS).reshape(count, TENTHS)
        sides.append(np.column_stack([np.log1p(number), mean, deviation, shares / least[:, None]]))
    return _embeddings("counts", log, *sides)


def category_counts(log: DividedLog, seed: int) -> Embeddings:
    """Counts of the categories of what a user did; of an item its categories.

    It reads the categories, which `item_category` asks for: that figure says nothing, and the
    others what categories alone tell.
    """
    del seed
    matrix = _matrix(log)
    categories = log.categories.astype(np.float64)
    return _embeddings("category_counts", log, unit(matrix @ categories), unit(categories))


def matrix_factorisation(log: DividedLog, seed: int) -> Embeddings:
    """Truncated SVD of the matrix of users and items (PureSVD: Cremonesi et al., RecSys 2010)."""
    user, item = _factors(_matrix(log), seed)
    return _embeddings("matrix_factorisation", log, user, item)


def neighbours(log: DividedLog, seed: int) -> Embeddings:
    """Truncated SVD of the items' cosines; a user is the sum of what the items' other side is.

    The score of an item is then the low-rank sum of its cosines to the user's items.
    """
    matrix = _matrix(log)
    length = np.sqrt(np.maximum(np.asarray(matrix.sum(axis=0)).reshape(-1), 1))
    scaled = matrix @ sparse.diags(1 / length)
    cosine = scaled.T @ scaled
    one, other = _factors(cosine - sparse.diags(cosine.diagonal()), seed)
    return _embeddings("neighbours", log, matrix @ one, other)


def item2vec(log: DividedLog, seed: int) -> Embeddings:
    """Item2vec in closed form: truncated SVD of the shifted positive PMI of items seen together.

    Skip-gram with negatives factorises the shifted PMI implicitly (Levy and Goldberg, NIPS 2014);
    this does so explicitly, in place of the training (Barkan and Koenigstein, 2016). A user is
    the mean of the context side of the newest items.
    """
    together = _together(log)
    total = together.sum()
    marginal = np.maximum(np.asarray(together.sum(axis=1)).reshape(-1), 1)
    pairs = together.tocoo()
    pmi = np.log(pairs.data * total / (marginal[pairs.row] * marginal[pairs.col])) - SHIFT
    kept = pmi > 0
    positive = sparse.csr_matrix((pmi[kept], (pairs.row[kept], pairs.col[kept])), pairs.shape)
    item, context = _factors(positive, seed)
    newest = _matrix(log, NEWEST)
    size = np.maximum(np.asarray(newest.sum(axis=1)), 1)
    return _embeddings("item2vec", log, newest @ context / size, item)


def propagation(log: DividedLog, seed: int) -> Embeddings:
    """LightGCN's propagation without its training, of factors in place of learned vectors.

    The mean of the layers 0 to `LAYERS` of e' = D^-1/2 A D^-1/2 e (He et al., SIGIR 2020).
    """
    matrix = _matrix(log)
    degrees = [np.maximum(np.asarray(matrix.sum(axis=axis)).reshape(-1), 1) for axis in (1, 0)]
    scaled = sparse.diags(degrees[0] ** -0.5) @ matrix @ sparse.diags(degrees[1] ** -0.5)
    user, item = _factors(scaled, seed)
    sums = [user, item]
    for _ in range(LAYERS):
        user, item = scaled @ item, scaled.T @ user
        sums = [sums[0] + user, sums[1] + item]
    return _embeddings("propagation", log, *(one / (LAYERS + 1) for one in sums))


def lightgcn(log: DividedLog, seed: int) -> Embeddings:
    """LightGCN, trained by the softmax over all items (`benchmarks.lightgcn`)."""
    from benchmarks.lightgcn import LightGCN
    from benchmarks.two_kinds import TwoKinds

    matrix = log.known_matrix.astype(np.float32)
    data = TwoKinds(matrix, sparse.csr_matrix((len(log.users), 0), dtype=np.float32))
    training = dict(TRAINING["lightgcn"])
    epochs = training.pop("epochs")
    model = LightGCN(data, DIM, LAYERS, seed=seed, **training)
    for _ in range(epochs):
        model.train_epoch()
    return _embeddings("lightgcn", log, *model.embeddings())


def comirec(log: DividedLog, seed: int) -> Embeddings:
    """ComiRec-SA, trained by the softmax over all items (`benchmarks.comirec`).

    Users have a vector for each interest, [U, K, d].
    """
    from benchmarks.comirec import EventComiRec

    user, item = log.known.user, log.known.item
    training = dict(TRAINING["comirec"])
    epochs = training.pop("epochs")
    model = EventComiRec(len(log.items), DIM, length=NEWEST, seed=seed, **training)
    for _ in range(epochs):
        model.train_epoch(user, item)
    return _embeddings("comirec", log, model.users(user, item, len(log.users)), model.table.numpy())


def random(log: DividedLog, seed: int) -> Embeddings:
    """Random numbers, others than those of the suite's reference."""
    return random_embeddings(log, 1_000 + seed)


def constant(log: DividedLog, seed: int) -> Embeddings:
    """The same for all: what probes know without any embedding."""
    del seed
    return constant_embeddings(log)


BASELINES: dict[str, Baseline] = {
    "random": random,
    "constant": constant,
    "counts": counts,
    "category_counts": category_counts,
    "neighbours": neighbours,
    "matrix_factorisation": matrix_factorisation,
    "item2vec": item2vec,
    "propagation": propagation,
    "lightgcn": lightgcn,
    "comirec": comirec,
}


def _embeddings(name: str, log: DividedLog, user: np.ndarray, item: np.ndarray) -> Embeddings:
    """Returns embeddings of one vector a row, [n, d], or of several, [n, K, d]."""
    made = (
        Vectors(keys, np.asarray(rows, np.float32).reshape(len(keys), -1, rows.shape[-1]))
        for keys, rows in ((log.users, user), (log.items, item))
    )
    return Embeddings(name, *made)


def _matrix(log: DividedLog, newest: int | None = None) -> sparse.csr_matrix:
    """Returns users x items [U, N], 1 for what was among the newest events, or ever."""
    if newest is None:
        return log.known_matrix.astype(np.float64)
    user, item = log.known.user, log.known.item
    kept = np.searchsorted(user, user, side="right") - np.arange(len(user)) <= newest
    return log.matrix(user[kept], item[kept]).astype(np.float64)


def _together(log: DividedLog) -> sparse.csr_matrix:
    """Counts how often two items are at most `WINDOW` events apart, both ways: [N, N]."""
    user, item = log.known.user, log.known.item
    shape = len(log.items), len(log.items)
    total = sparse.csr_matrix(shape)
    for gap in range(1, WINDOW + 1):
        one, other = item[:-gap], item[gap:]
        kept = (user[:-gap] == user[gap:]) & (one != other)
        ones = np.ones(int(kept.sum()))
        total = total + sparse.csr_matrix((ones, (one[kept], other[kept])), shape)
    return (total + total.T).tocsr()


def _factors(matrix: sparse.csr_matrix, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns U sqrt(S) [n, d] and V sqrt(S) [m, d] of the truncated SVD."""
    dim = min(DIM, min(matrix.shape) - 1)
    model = TruncatedSVD(dim, n_iter=7, random_state=seed)
    left = model.fit_transform(matrix)  # U S
    root = np.sqrt(np.maximum(model.singular_values_, np.finfo(np.float64).tiny))
    return left / root, model.components_.T * root
