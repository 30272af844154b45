"""Histories in a file of SQLite, for one machine."""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path

from serving.histories.store import HistoryStore

_TABLE = """
CREATE TABLE IF NOT EXISTS parts (id INTEGER PRIMARY KEY, user TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS parts_of_user ON parts (user);
"""
_USERS = 500  # of one statement
_PATIENCE = 60.0  # seconds that a writer waits for another


class SqliteHistoryStore(HistoryStore):
    """Keeps histories in a file; processes and threads of one machine may share it.

    Args:
        path: The file, made if it is not there.

    Raises:
        sqlite3.Error: The file cannot be opened, or is no such store.
    """

    def __init__(self, path: str | Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for a writer
        self._connection.executescript(_TABLE)

    def write_packed(self, histories: Iterable[tuple[str, bytes]]) -> None:
        """Replaces histories in one transaction; see the base class."""
        rows = list(histories)
        with self._lock, self._connection as connection:
            connection.executemany("DELETE FROM parts WHERE user = ?", [row[:1] for row in rows])
            connection.executemany("INSERT INTO parts (user, data) VALUES (?, ?)", rows)

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def _parts(self, users: Sequence[str]) -> list[list[bytes]]:
        found: dict[str, list[bytes]] = defaultdict(list)
        distinct = list(dict.fromkeys(users))
        for start in range(0, len(distinct), _USERS):
            some = distinct[start : start + _USERS]
            marks = ", ".join("?" * len(some))
            query = f"SELECT user, data FROM parts WHERE user IN ({marks}) ORDER BY id"
            with self._lock:
                rows = self._connection.execute(query, some).fetchall()
            for user, data in rows:
                found[user].append(data)
        return [found[user] for user in users]

    def _append(self, user: str, part: bytes) -> None:
        with self._lock, self._connection as connection:
            connection.execute("INSERT INTO parts (user, data) VALUES (?, ?)", (user, part))
