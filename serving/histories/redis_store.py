"""Histories in Redis, for many machines; needs the extra `redis`."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from typing import TYPE_CHECKING

from serving.histories.store import HistoryStore

if TYPE_CHECKING:
    import redis

PREFIX = "vitrine:history:"
_USERS = 500  # of one round trip


class RedisHistoryStore(HistoryStore):
    """Keeps a history as a list of its parts.

    Args:
        client: A client that answers with bytes (`decode_responses=False`, the default).
        prefix: What keys begin with; the user's id follows.
    """

    def __init__(self, client: redis.Redis, prefix: str = PREFIX) -> None:
        self._client = client
        self._prefix = prefix

    @classmethod
    def at(cls, address: str) -> RedisHistoryStore:
        """Returns the store at an address such as `redis://127.0.0.1:6379/0`.

        Raises:
            ImportError: The extra `redis` is not installed.
        """
        try:
            import redis
        except ImportError as error:
            raise ImportError(
                f"Expected the package `redis` for {address}: pip install 'vitrine[redis]'."
            ) from error
        # The protocol that every Redis speaks; a newer client begins with the newer one.
        return cls(redis.Redis.from_url(address, protocol=2))

    def write_packed(self, histories: Iterable[tuple[str, bytes]]) -> None:
        """Replaces histories, some at a time and each of them at once; see the base class."""
        rows = list(histories)
        for start in range(0, len(rows), _USERS):
            with self._client.pipeline(transaction=True) as pipeline:
                for user, data in rows[start : start + _USERS]:
                    pipeline.delete(self._key(user))
                    pipeline.rpush(self._key(user), data)
                pipeline.execute()

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _parts(self, users: Sequence[str]) -> list[list[bytes]]:
        found: list[list[bytes]] = []
        for start in range(0, len(users), _USERS):
            with self._client.pipeline(transaction=False) as pipeline:
                for user in users[start : start + _USERS]:
                    pipeline.lrange(self._key(user), 0, -1)
                found += pipeline.execute()
        return found

    def _append(self, user: str, part: bytes) -> None:
        self._client.rpush(self._key(user), part)

    def _key(self, user: str) -> str:
        return self._prefix + user
