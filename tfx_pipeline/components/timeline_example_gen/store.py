"""Where rows wait between two stages of the job."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence

_HERE = b"i"  # the element holds the data itself
_FILE = b"f"  # the element says where in which file it is


class Store:
    """Keeps data for a later stage, in a file or in the element itself.

    Beam's local runners keep whatever passes between stages in memory, all of
    a log at once. On one machine the data therefore goes to files, and elements
    only say where it is. A cluster's runner has a shuffle of its own.
    """

    def __init__(self, directory: str) -> None:
        """Takes a directory that all workers share, or "" to keep data in elements."""
        self._directory = directory

    def put(self, payloads: Sequence[bytes]) -> list[bytes]:
        """Keeps data, all of one call in one file.

        Args:
            payloads: What to keep.

        Returns:
            What `get` needs to find each again.
        """
        if not self._directory:
            return [_HERE + payload for payload in payloads]
        path = os.path.join(self._directory, uuid.uuid4().hex)
        offset, places = 0, []
        with open(path, "wb") as file:
            for payload in payloads:
                file.write(payload)
                places.append(_FILE + json.dumps([path, offset, len(payload)]).encode())
                offset += len(payload)
        return places

    @staticmethod
    def get(place: bytes) -> bytes:
        """Returns data by what `put` returned for it."""
        if place[:1] == _HERE:
            return place[1:]
        path, offset, length = json.loads(place[1:])
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(length)
