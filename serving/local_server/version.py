"""The record of one version of a model."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from serving.local_server.batching import Lane
from serving.local_server.disk import Fingerprint
from serving.local_server.servable import Servable


class State(enum.IntEnum):
    """State of a version, with the numbers of TF Serving's protocol."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(eq=False)
class Version:
    """One version of a model.

    Attributes:
        number: its number.
        path: its directory.
        state: where it is between start and end.
        fault: why it could not be loaded, or the empty string.
        files: its files when they were last looked at before loading.
        servable: the loaded model while there is one.
        lanes: the queue of each signature.
        requests: requests under way.
    """

    number: int
    path: Path
    state: State = State.START
    fault: str = ""
    files: Fingerprint = ()
    servable: Servable | None = None
    lanes: Mapping[str, Lane] = field(default_factory=dict)
    requests: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self) -> None:
        """Notes that a request uses this version."""
        self.requests += 1
        self.idle.clear()

    def end(self) -> None:
        """Notes that a request is done with this version."""
        self.requests -= 1
        if not self.requests:
            self.idle.set()
