"""Leave-last-out for peers: windows to train on, histories to rank from, metrics.

NumPy alone, for a peer's process has nothing of the project. Items are
numbered from 1; 0 fills windows on the left.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

NEVER = np.iinfo(np.int64).max // 2  # the rank of an item that is excluded
MRR_DEPTH = 100
# Events at the end of each user that are held out.
TRAIN, VALIDATION, TEST = 2, 2, 1


@dataclass(frozen=True)
class Sequences:
    """Interactions, one user after the other.

    Attributes:
        items: [n] int64 from 1 to `item_count`, oldest first within a user.
        starts: [users + 1] int64, where each user begins.
        item_count: Number of items there are.
    """

    items: np.ndarray
    starts: np.ndarray
    item_count: int

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.starts) - 1

    def windows(self, length: int, held_out: int) -> np.ndarray:
        """Returns the last events of each user before those held out.

        Args:
            length: How many events; fewer are filled with 0 on the left.
            held_out: Events at the end of every user that are left out.

        Returns:
            [users, length] int64.
        """
        index = (self.starts[1:, None] - held_out) + np.arange(-length, 0)
        there = index >= self.starts[:-1, None]
        return np.where(there, self.items[np.maximum(index, 0)], 0)

    def held_out(self, held_out: int) -> np.ndarray:
        """Returns [users] int64, the first event that is held out of each user."""
        return self.items[self.starts[1:] - held_out]

    def exclude_seen(self, scores: np.ndarray, first: int, held_out: int) -> None:
        """Sets the scores of what users did before the events held out to minus infinity.

        Args:
            scores: [B, items] of users `first` and following; changed in place.
            first: The first row's user.
            held_out: Events at the end of every user that are left out.
        """
        starts = self.starts[first : first + len(scores)]
        ends = self.starts[first + 1 : first + len(scores) + 1] - held_out
        row = np.repeat(np.arange(len(scores)), ends - starts)
        seen = [self.items[start:end] for start, end in zip(starts, ends, strict=True)]
        scores[row, np.concatenate(seen) - 1] = -np.inf


def read_sequences(path: str | Path) -> Sequences:
    """Reads `items`, `starts` and `item_count` of an npz file.

    Raises:
        ValueError: An item is out of range, or a user has fewer than four
            events (two to learn from, one to validate on, one to test on).
    """
    with np.load(path) as arrays:
        data = Sequences(arrays["items"], arrays["starts"], int(arrays["item_count"]))
    if data.items.min() < 1 or data.items.max() > data.item_count:
        raise ValueError(f"{path}: items should be from 1 to {data.item_count}.")
    if np.diff(data.starts).min() < 4:
        raise ValueError(f"{path}: every user should have 4 events or more.")
    return data


def training_windows(data: Sequences, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs and, one event on, targets of the last events to train on.

    Args:
        data: All sequences.
        length: Events of a window.

    Returns:
        [users, length] int64 each; 0 where there is no input, and no target either.
    """
    window = data.windows(length + 1, TRAIN)
    inputs = window[:, :-1]
    # The first event of a user has nothing before it to be predicted from.
    return inputs, np.where(inputs > 0, window[:, 1:], 0)


def find_ranks(scores: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns how many items come before the wanted one; equal scores go by number.

    Args:
        scores: [B, items]; minus infinity excludes an item.
        wanted: [B] int64 items from 1.

    Returns:
        [B] int64, 0 for the best place; `NEVER` when the wanted item is excluded.

    Raises:
        ValueError: A score is not a number, so training has diverged.
    """
    if np.isnan(scores).any():  # nothing compares with it: every rank would be the best
        raise ValueError("Scores should be numbers, but some are NaN: training has diverged.")
    column = wanted[:, None] - 1
    score = np.take_along_axis(scores, column, axis=1)  # [B, 1]
    before = (scores > score) | ((scores == score) & (np.arange(scores.shape[1]) < column))
    return np.where(np.isneginf(score[:, 0]), NEVER, np.count_nonzero(before, axis=1))


def find_metrics(ranks: np.ndarray) -> dict[str, float]:
    """Returns hr@10, ndcg@10 and mrr (of the first 100) of [users] ranks from 0."""
    gain = 1.0 / np.log2(ranks + 2.0)
    return {
        "hr@10": float(np.mean(ranks < 10)),
        "ndcg@10": float(np.mean(np.where(ranks < 10, gain, 0.0))),
        "mrr": float(np.mean(np.where(ranks < MRR_DEPTH, 1.0 / (ranks + 1.0), 0.0))),
    }
