"""Stores of histories: what comes back, from a file and over Redis' protocol."""

from __future__ import annotations

import socketserver
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serving.client import Event
from serving.client import RankRequest
from serving.client import Request
from serving.histories import HistoryStore
from serving.histories import open_store
from serving.histories.packing import Column
from serving.histories.packing import pack
from serving.histories.packing import pack_columns
from serving.histories.packing import unpack

ANN = [
    Event("item:1", "click", 5),
    Event("item:é", "buy", 5, 2.5, "a hat"),
    Event("item:1", "x", 9),
]
BOB = [Event("item:2", "click", 1_700_000_000_000_000, -1.0)]


class Redis(socketserver.StreamRequestHandler):
    """The few commands that the store sends, by the protocol (RESP2)."""

    def handle(self) -> None:
        self.queued: list[Any] | None = None
        while line := self.rfile.readline():
            words = [self._bulk() for _ in range(int(line[1:]))]
            self.wfile.write(self._answer(words))

    def _bulk(self) -> bytes:
        size = int(self.rfile.readline()[1:])
        return self.rfile.read(size + 2)[:-2]

    def _answer(self, words: list[bytes]) -> bytes:
        name = words[0].upper()
        if name == b"MULTI":
            self.queued = []
            return b"+OK\r\n"
        if name == b"EXEC":
            assert self.queued is not None
            answers, self.queued = [self._run(*one) for one in self.queued], None
            return b"*%d\r\n" % len(answers) + b"".join(answers)
        if self.queued is not None:
            self.queued.append((name, words[1:]))
            return b"+QUEUED\r\n"
        return self._run(name, words[1:])

    def _run(self, name: bytes, words: list[bytes]) -> bytes:
        kept = self.server.kept  # type: ignore[attr-defined]
        if name == b"RPUSH":
            kept[words[0]] += words[1:]
            return b":%d\r\n" % len(kept[words[0]])
        if name == b"DEL":
            return b":%d\r\n" % (kept.pop(words[0], None) is not None)
        if name == b"LRANGE":
            assert words[1:] == [b"0", b"-1"]
            parts = kept.get(words[0], [])
            return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
        assert name == b"CLIENT"
        return b"+OK\r\n"


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[HistoryStore]:
    if request.param == "sqlite":
        with open_store(str(tmp_path / "histories.sqlite")) as opened:
            yield opened
        return
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Redis) as server:
        server.daemon_threads = True
        server.kept = defaultdict(list)  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open_store(f"redis://127.0.0.1:{server.server_address[1]}/0") as opened:
            yield opened
        server.shutdown()


def test_a_history_comes_back_as_it_was_written(store: HistoryStore) -> None:
    store.write([("ann", ANN), ("bob", BOB), ("", [])])
    assert store.read(["bob", "nobody", "ann", "bob", ""]) == [BOB, [], ANN, BOB, []]
    store.write([("ann", BOB)])
    assert store.read(["ann"]) == [BOB]


def test_what_is_appended_comes_last_until_the_next_write(store: HistoryStore) -> None:
    store.append("ann", ANN[:1])
    store.append("bob", BOB)
    store.append("ann", ANN[1:])
    assert store.read(["ann", "bob"]) == [ANN, BOB]
    store.write([("ann", ANN)])
    assert store.read(["ann", "bob"]) == [ANN, BOB]


def test_many_users_are_read_at_once(store: HistoryStore) -> None:
    users = [f"u{number}" for number in range(1_100)]
    store.write((user, [Event(f"item:{user}", "x", 1)]) for user in users)
    assert [one[0].id for one in store.read(users[::-1])] == [f"item:{u}" for u in users[::-1]]
    assert store.read(users[:1] + users + users[:1])[-1] == store.read(users[:1])[0]


def test_requests_are_completed_by_what_is_kept_and_not_by_what_it_holds_already(
    store: HistoryStore,
) -> None:
    store.write([("ann", ANN)])
    late, early = Event("item:3", "click", 10), Event("item:1", "x", 9)
    asked = RankRequest([early, late], ["item:7"], "hat", ("a=1",), 11)
    ranked, fresh = store.resolve(["ann", "bob"], [asked, RankRequest([early])])
    assert ranked == RankRequest([*ANN, late], ["item:7"], "hat", ("a=1",), 11)
    assert fresh.history == [early]
    assert store.resolve(["ann"], [Request()])[0].history == ANN


def test_threads_share_a_store(store: HistoryStore) -> None:
    def write(number: int) -> None:
        for _ in range(5):
            store.append(f"u{number}", ANN)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read([f"u{n}" for n in range(4)]) == [ANN * 5] * 4


def test_columns_pack_as_events_do() -> None:
    events = ANN * 40
    texts = [Column.of([event[n] for event in events]) for n in (0, 1, 4)]
    times = np.array([event.timestamp for event in events])
    values = np.array([event.value for event in events], np.float32)
    assert pack_columns(texts, times, values) == pack(events)
    assert unpack(pack(events)) == events


@pytest.mark.parametrize(
    "event",
    [
        Event("a", "x", 1 << 63),
        Event("a", "x", "5"),
        Event("\ud800", "x", 1),
        Event("a", None, 1),
        ("a", "x"),
    ],
)
def test_an_event_that_cannot_be_kept_is_refused(event: Any) -> None:
    with pytest.raises(ValueError):
        pack([event])


@pytest.mark.parametrize("data", [b"", b"\x02" + pack(ANN)[1:], pack(ANN)[:-9], b"\x01junk"])
def test_what_is_no_history_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="that `pack` wrote"):
        unpack(data)


def test_stores_need_neither_tensorflow_nor_redis() -> None:
    code = (
        "import sys; import serving.histories as h; h.open_store(':memory:').close(); "
        "sys.exit(bool({'tensorflow', 'redis', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
