"""State of users between pages: things on their mind, things just seen."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.datasets.shop.config import DAY
from tfx_pipeline.datasets.shop.utility import MEMORY_DAYS
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints


class Memory:
    """The last things of each user, with strengths that fade.

    What is added may lie ahead: a purchase counts from its own time on, though pages are
    shown in between.
    """

    def __init__(self, users: int, slots: int) -> None:
        """Makes empty memories.

        Args:
            users: Number of users U.
            slots: Number of things M that a user remembers.
        """
        self._things = np.full((users, slots), -1, np.int32)
        self._strength = np.zeros((users, slots))
        self._time = np.zeros((users, slots), np.int64)
        self._written = np.zeros(users, np.int64)

    def at(self, user: Ints, time: Ints) -> tuple[Ints, Floats]:
        """Returns what users [n] have on their mind at times [n] in microseconds.

        Returns:
            [n, M] rows of the catalogue, -1 for none, and [n, M] their strengths
            s exp(-age / MEMORY_DAYS), 0 for none.
        """
        age = (time[:, None] - self._time[user]) / DAY
        fading = np.exp(-np.maximum(age, 0) / MEMORY_DAYS)
        return self.things(user, time), np.where(age < 0, 0.0, self._strength[user] * fading)

    def things(self, user: Ints, time: Ints) -> Ints:
        """Returns the rows of the catalogue alone, as `at` does."""
        return np.where(self._time[user] > time[:, None], -1, self._things[user])

    def add(self, user: Ints, things: Ints, strength: Floats, time: Ints) -> None:
        """Adds things [n] to the memories of users [n], who come in sorted order.

        Each takes the place of the oldest.
        """
        if not len(user):
            return
        first = np.searchsorted(user, user, side="left")
        slot = (self._written[user] + np.arange(len(user)) - first) % self._things.shape[1]
        self._things[user, slot] = things
        self._strength[user, slot] = strength
        self._time[user, slot] = time
        np.add.at(self._written, user, 1)

    def forget(self, user: Ints) -> None:
        """Empties the memories of users."""
        self._things[user] = -1
        self._written[user] = 0
