"""Histories by user: where requests of long histories take them from; needs NumPy only.

Example:
    >>> from serving.histories import open_store
    >>> with open_store("histories.sqlite") as store:
    ...     [request] = store.resolve(["u17"], [RankRequest(candidates=["item:4", "item:9"])])
"""

from serving.histories.sqlite_store import SqliteHistoryStore
from serving.histories.store import HistoryStore
from serving.histories.store import open_store

__all__ = ["HistoryStore", "SqliteHistoryStore", "open_store"]
