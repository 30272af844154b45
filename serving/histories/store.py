"""Stores of histories by user."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable
from collections.abc import Sequence
from itertools import chain
from types import TracebackType
from typing import TypeVar

from serving.client.types import Event
from serving.client.types import RankRequest
from serving.client.types import Request
from serving.histories.packing import pack
from serving.histories.packing import unpack

RequestT = TypeVar("RequestT", Request, RankRequest)
_REDIS = ("redis://", "rediss://", "unix://")


class HistoryStore(abc.ABC):
    """What users did, for whoever asks a ranker on their behalf.

    A history is kept in parts, oldest first: one that a job wrote, and what was appended since.
    It holds ids, so that it outlives models; `serving.client.HistoryCodes` makes codes of it for
    the version that is asked.
    """

    def read(self, users: Sequence[str]) -> list[list[Event]]:
        """Returns the history of each user, oldest first; empty where none is kept.

        Raises:
            ValueError: What is kept is no history.
        """
        return [list(chain.from_iterable(map(unpack, parts))) for parts in self._parts(users)]

    def resolve(self, users: Sequence[str], requests: Sequence[RequestT]) -> list[RequestT]:
        """Completes requests by what is kept of their users.

        Args:
            users: The user of each request.
            requests: Their `history` may hold what the store has not taken in yet: of it the
                events later than all that are kept are added.
        """
        return [
            dataclasses.replace(request, history=_joined(kept, request.history))
            for kept, request in zip(self.read(users), requests, strict=True)
        ]

    def write(self, histories: Iterable[tuple[str, Sequence[Event]]]) -> None:
        """Replaces the histories of users.

        Raises:
            ValueError: An event cannot be stored.
        """
        self.write_packed((user, pack(history)) for user, history in histories)

    def append(self, user: str, events: Sequence[Event]) -> None:
        """Adds the events of a user that came after all that are kept.

        Raises:
            ValueError: An event cannot be stored.
        """
        self._append(user, pack(events))

    @abc.abstractmethod
    def write_packed(self, histories: Iterable[tuple[str, bytes]]) -> None:
        """Replaces the histories of users by packed ones (`serving.histories.packing`)."""

    @abc.abstractmethod
    def close(self) -> None:
        """Lets go of the store."""

    @abc.abstractmethod
    def _parts(self, users: Sequence[str]) -> list[list[bytes]]: ...

    @abc.abstractmethod
    def _append(self, user: str, part: bytes) -> None: ...

    def __enter__(self) -> HistoryStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_store(address: str) -> HistoryStore:
    """Opens the store at an address.

    Args:
        address: `redis://HOST:PORT/DB` (also `rediss://`, `unix://`), or the path of a SQLite
            file, which is made if it is not there.
    """
    if address.startswith(_REDIS):
        from serving.histories.redis_store import RedisHistoryStore

        return RedisHistoryStore.at(address)
    from serving.histories.sqlite_store import SqliteHistoryStore

    return SqliteHistoryStore(address)


def _joined(kept: list[Event], given: Sequence[Event]) -> list[Event]:
    last = kept[-1].timestamp if kept else None
    return kept + [event for event in given if last is None or event.timestamp > last]
