"""Messages between the steps of the job, and the temporary storage that they are kept in."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.runners.direct.direct_runner import DirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from transforms.arrow import pa

EVENTS = "events"
USERS = "users"
DEAD = "dead"
REPAIRED = "repaired"

# LZ4 costs little beside what it saves: the runner keeps all groups in memory.
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")

_HERE = b"i"  # the element holds the data itself
_FILE = b"f"  # the element says where in which file it is


class Store:
    """Temporary storage of data for a later step, in a file or in the element itself.

    Beam's local runners keep whatever passes between steps in memory, all of
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
        offset, addresses = 0, []
        with open(path, "wb") as file:
            for payload in payloads:
                file.write(payload)
                addresses.append(_FILE + json.dumps([path, offset, len(payload)]).encode())
                offset += len(payload)
        return addresses

    @staticmethod
    def get(address: bytes) -> bytes:
        """Returns data by what `put` returned for it."""
        if address[:1] == _HERE:
            return address[1:]
        path, offset, length = json.loads(address[1:])
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(length)


@contextlib.contextmanager
def temporary_storage(pipeline: beam.Pipeline) -> Iterator[str]:
    """Makes a directory for the time of a run on this machine; "" when a cluster runs it.

    It is in the system's directory for temporary files (`TMPDIR` names another).
    """
    if not isinstance(pipeline.runner, (DirectRunner, FnApiRunner)):
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix="timelines-") as directory:
        yield directory


Message = tuple[int, str, bytes]  # order, kind, and what `Store.get` returns the rows for


class Group(NamedTuple):
    """Rows of a bucket, in the order of the log whatever order they came in.

    Attributes:
        events: Events, with the columns of `partition.read_events`.
        users: Users, with the columns of `partition.read_users`; None without.
        dead: Dead letters.
        repaired: Counts of events' values that were dropped, with `reason` and `count`.
    """

    events: pa.Table | None
    users: pa.Table | None
    dead: list[pa.Table]
    repaired: list[pa.Table]


def pack(table: pa.Table) -> bytes:
    """Returns a table as bytes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def unpack(data: bytes) -> pa.Table:
    """Returns the table that `pack` made into bytes."""
    return pa.ipc.open_stream(data).read_all()


def collect(messages: Sequence[Message]) -> Group:
    """Joins the messages of a bucket."""
    kinds: dict[str, list[pa.Table]] = {EVENTS: [], USERS: [], DEAD: [], REPAIRED: []}
    for _, kind, address in sorted(messages, key=lambda message: (message[1], message[0])):
        kinds[kind].append(unpack(Store.get(address)))
    events, users = (
        pa.concat_tables(kinds[kind], promote=True) if kinds[kind] else None
        for kind in (EVENTS, USERS)
    )
    return Group(events, users, kinds[DEAD], kinds[REPAIRED])
