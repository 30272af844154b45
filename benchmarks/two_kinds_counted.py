"""Rankings of candidates for users with two kinds of entities that need no training."""

from __future__ import annotations

import numpy as np
from scipy import linalg
from scipy import sparse

from benchmarks.two_kinds import Scorer
from benchmarks.two_kinds import TwoKinds


def popularity(data: TwoKinds) -> Scorer:
    """Returns a scorer by the number of users of each candidate."""
    counts = np.asarray(data.candidates.sum(axis=0), np.float32)  # [1, C]
    return lambda users: np.repeat(counts, len(users), axis=0)


def ease(data: TwoKinds, regularisation: float, weight: float = 0.0) -> Scorer:
    """Returns a scorer by EASE over candidates, or over both kinds where `weight` is not 0.

    With X = [candidates, weight others] and G = X X' + lambda I over users, the inverse that EASE
    asks for is P = (I - X' G^-1 X) / lambda (Woodbury), of which the columns of candidates are
    needed alone: many entities cost no more than their users.

    Args:
        data: What is fitted.
        regularisation: lambda.
        weight: Of the other kind's columns.
    """
    own, others = data.candidates.astype(np.float32), weight * data.others.astype(np.float32)
    gram = (own @ own.T + others @ others.T).toarray()
    gram[np.diag_indices_from(gram)] += regularisation
    factor = linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    solved = linalg.cho_solve(factor, own.toarray(), overwrite_b=True, check_finite=False)
    inner = own.T @ solved  # [C, C], I - lambda P
    left = 1.0 - np.diag(inner)
    weights = inner / left
    np.fill_diagonal(weights, 0.0)
    of_others = (others.T @ solved) / left if weight else None  # [O, C]

    def score(users: np.ndarray) -> np.ndarray:
        scores = own[users] @ weights
        return scores if of_others is None else scores + others[users] @ of_others

    return score


def neighbours(data: TwoKinds, number: int, weight: float = 0.0) -> Scorer:
    """Returns a scorer by what the users say that are most alike, by cosine.

    Args:
        data: What is fitted.
        number: So many users are asked.
        weight: Of the other kind's columns in the cosine.
    """
    own = sparse.hstack([data.candidates, weight * data.others]).tocsr().astype(np.float32)
    norm = np.sqrt(np.maximum(np.asarray(own.multiply(own).sum(axis=1)).ravel(), 1e-9))
    own = sparse.diags(1.0 / norm) @ own

    def score(users: np.ndarray) -> np.ndarray:
        alike = (own[users] @ own.T).toarray()
        alike[np.arange(len(users)), users] = 0.0
        least = -np.partition(-alike, number - 1, axis=1)[:, number - 1 : number]
        alike[alike < np.maximum(least, 1e-9)] = 0.0
        scores: np.ndarray = (sparse.csr_matrix(alike) @ data.candidates).toarray()
        return scores

    return score
