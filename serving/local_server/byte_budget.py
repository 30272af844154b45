"""A bound on the bytes that requests hold at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import grpc

from serving.local_server.errors import RequestError


class ByteBudget:
    """Counts bytes that are held, and refuses more; for any thread.

    Args:
        most: bytes at once. One holder alone may have more: it is bounded by itself.
        holders: who holds them, for the message.
    """

    def __init__(self, most: int, holders: str) -> None:
        self._most = most
        self._holders = holders
        self._held = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Holds bytes until the block ends.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, others hold too many.
        """
        with self._lock:
            if self._held and self._held + size > self._most:
                raise RequestError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{self._holders} take {self._held:,} bytes already "
                    "(`max_concurrent_bytes`). Try again a little later.",
                )
            self._held += size
        try:
            yield
        finally:
            with self._lock:
                self._held -= size
