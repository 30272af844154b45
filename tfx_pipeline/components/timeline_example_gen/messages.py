"""What travels between the stages of the job: Arrow's stream format in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tfx_pipeline.components.timeline_example_gen.store import Store
from transforms.arrow import pa

EVENTS = "events"
USERS = "users"
DEAD = "dead"
REPAIRED = "repaired"

# LZ4 costs little beside what it saves: the runner keeps all groups in memory.
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")

Message = tuple[int, str, bytes]  # order, kind, and what `Store.get` returns the rows for


class Group(NamedTuple):
    """The rows of a bucket, in the order of the log whatever order they came in.

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
    for _, kind, place in sorted(messages, key=lambda message: (message[1], message[0])):
        kinds[kind].append(unpack(Store.get(place)))
    events, users = (
        pa.concat_tables(kinds[kind], promote=True) if kinds[kind] else None
        for kind in (EVENTS, USERS)
    )
    return Group(events, users, kinds[DEAD], kinds[REPAIRED])
