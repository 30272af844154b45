"""A downstream task: what it is declared by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tfx_pipeline.evaluation.embeddings.log import DividedLog
from tfx_pipeline.evaluation.embeddings.vectors import Embeddings
from tfx_pipeline.evaluation.embeddings.vectors import Vectors

Kind = Literal["user", "item", "pair"]
Readings = dict[str, np.ndarray]  # what was read -> [S], itself and its bootstrap


@dataclass(frozen=True)
class Task:
    """A downstream task.

    Attributes:
        name: A word for tables.
        kind: What it asks embeddings of: users, items, or both together.
        metric: The metric, in words.
        about: What is predicted, in words.
        missing: Says why a log has no such task; an empty string where it has.
        measure: Measures aligned embeddings.
        beside: Prefix of readings that are shown and not counted.
    """

    name: str
    kind: Kind
    metric: str
    about: str
    missing: Callable[[DividedLog], str]
    measure: Callable[[DividedLog, Aligned], Readings]
    beside: tuple[str, ...] = ()

    def value(self, readings: Readings) -> np.ndarray:
        """Returns the mean of what counts: [S]."""
        counted = [one for name, one in readings.items() if not name.startswith(self.beside)]
        return np.mean(counted if self.beside else list(readings.values()), axis=0)


@dataclass(frozen=True)
class Aligned:
    """Embeddings in the order of a log; zeros where there is none.

    Attributes:
        users: [U, K, d].
        items: [N, d] float32.
        missing_users: Users without an embedding.
        missing_items: Items without one.
    """

    users: Vectors
    items: np.ndarray
    missing_users: int
    missing_items: int


def align(embeddings: Embeddings, log: DividedLog) -> Aligned:
    """Puts embeddings into the order of a log's users and items."""
    tables = embeddings.users, embeddings.items
    width = next(one.vectors.shape[2] for one in tables if one is not None)
    none = Vectors(np.empty(0, object), np.empty((0, 1, width), np.float32))
    users, missing_users = (embeddings.users or none).aligned(log.users)
    items, missing_items = (embeddings.items or none).aligned(log.items)
    return Aligned(users, items.vectors[:, 0], missing_users, missing_items)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors [..., d] to length one; zeros stay zeros."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: np.ndarray = vectors / np.where(length > 0, length, 1)
    return scaled
