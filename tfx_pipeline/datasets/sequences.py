"""Reads the format of the sequence papers: a line of ids a user, oldest first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transforms.arrow import pa
from transforms.arrow import pc

SECOND = 1_000_000  # microseconds


@dataclass(frozen=True)
class Sequences:
    """Users and what each of them touched, oldest first.

    Attributes:
        users: [U] string.
        lengths: [U] int64, items of each user.
        items: [sum of lengths] string, the users' items one after another.
    """

    users: pa.Array
    lengths: np.ndarray
    items: pa.Array

    def user_of_item(self) -> pa.Array:
        """Returns the user of each item, [sum of lengths] string."""
        return self.users.take(pa.array(np.repeat(np.arange(len(self.users)), self.lengths)))

    def positions(self) -> np.ndarray:
        """Returns each item's place in its user's line from 0, [sum of lengths] int64."""
        starts = np.cumsum(self.lengths) - self.lengths
        return np.arange(self.lengths.sum()) - np.repeat(starts, self.lengths)


def read_lines(path: str | Path) -> pa.Array:
    """Reads the lines of a text file that are not blank, [N] list of words.

    Raises:
        ValueError: If the file is damaged, not UTF-8, or has no line.
    """
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            text = stream.read().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"`{path}` is not whole UTF-8 text: {error}") from error
    lines = pa.array([line for line in text.split("\n") if line.strip()], pa.string())
    if not len(lines):
        raise ValueError(f"`{path}` is empty; expected a line of ids a user.")
    return pc.utf8_split_whitespace(pc.utf8_trim_whitespace(lines))


def read_sequences(path: str | Path) -> Sequences:
    """Reads lines `user item item ...`, also compressed.

    Raises:
        ValueError: If a line has no item, or a user has two lines.
    """
    lines = read_lines(path)
    lengths = pc.list_value_length(lines).to_numpy(zero_copy_only=False).astype(np.int64)
    short = np.flatnonzero(lengths < 2)
    if len(short):
        raise ValueError(
            f"`{path}`: {len(short)} lines have a user and no item, the first is line "
            f"{short[0] + 1}: {lines[int(short[0])].as_py()}. Expected `user item item ...`."
        )
    words = lines.flatten()
    starts = np.cumsum(lengths) - lengths
    is_item = np.ones(len(words), bool)
    is_item[starts] = False
    users = words.take(pa.array(starts))
    if len(pc.unique(users)) != len(users):
        raise ValueError(f"`{path}`: {len(users) - len(pc.unique(users))} users have two lines.")
    return Sequences(users, lengths - 1, words.filter(pa.array(is_item)))


def sequence_events(
    sequences: Sequences, entity_type: str, event: str, values: pa.Array | None = None
) -> pa.Table:
    """Returns rows of the events table for sequences that have an order and no times.

    The timestamp is the place in the user's line, as seconds since the epoch,
    so the manifest's `time` has to be `ordinal`.
    """
    n = len(sequences.items)
    return pa.table(
        {
            "user_id": sequences.user_of_item(),
            "entity_type": constant(entity_type, n),
            "entity_id": sequences.items,
            "event": constant(event, n),
            "timestamp": pa.array(sequences.positions() * SECOND),
            "ordinal": pa.array(np.arange(n, dtype=np.int64)),
            "value": pa.nulls(n, pa.float32()) if values is None else values,
        }
    )


def constant(value: str, length: int) -> pa.Array:
    """Returns a string repeated, [length] string."""
    return pa.array([value]).take(pa.array(np.zeros(length, np.int32)))
