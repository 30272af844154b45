"""What users carry from page to page: things on their mind, things just seen."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.datasets.shop.config import DAY
from tfx_pipeline.datasets.shop.utility import MEMORY_DAYS
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints


class Memory:
    """The last things of each user, with strengths that fade.

    Attributes:
        things: [U, M] rows of the catalogue, -1 for none.
    """

    def __init__(self, users: int, slots: int) -> None:
        """Makes empty memories.

        Args:
            users: Number of users U.
            slots: Number of things M that a user remembers.
        """
        self.things = np.full((users, slots), -1, np.int64)
        self._strength = np.zeros((users, slots))
        self._time = np.zeros((users, slots), np.int64)
        self._written = np.zeros(users, np.int64)

    def strength(self, user: Ints, time: Ints) -> Floats:
        """Returns strengths [n, M] at times in microseconds: s exp(-age / MEMORY_DAYS)."""
        age = np.maximum(time[:, None] - self._time[user], 0) / DAY
        return self._strength[user] * np.exp(-age / MEMORY_DAYS)

    def add(self, user: Ints, things: Ints, strength: Floats, time: Ints) -> None:
        """Adds things [n] to the memories of users [n], who come in sorted order.

        Each takes the place of the oldest.
        """
        if not len(user):
            return
        first = np.searchsorted(user, user, side="left")
        slot = (self._written[user] + np.arange(len(user)) - first) % self.things.shape[1]
        self.things[user, slot] = things
        self._strength[user, slot] = strength
        self._time[user, slot] = time
        np.add.at(self._written, user, 1)

    def forget(self, user: Ints) -> None:
        """Empties the memories of users."""
        self.things[user] = -1
        self._written[user] = 0
