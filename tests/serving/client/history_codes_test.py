"""Histories as codes: each record by hand, bytes of a request, and servables that read others."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serving.client import Event
from serving.client import HistoryCodes
from serving.client import RankRequest
from serving.client import protos
from serving.client.calls import predict_request
from serving.client.errors import Target
from serving.client.ranking import rank_inputs
from serving.client.tensors import fill_proto
from serving.client.tensors import from_proto
from tests.serving.client.scripted import Scripted
from tests.serving.client.scripted import ask_async
from tests.serving.client.scripted import ask_sync
from transforms.history_codes import HistoryLayout

SECOND = 1_000_000
LAYOUT = HistoryLayout(
    entities=4, event_types=3, window=3, ages=(SECOND, 5 * SECOND, 60 * SECOND), values=16,
    queries=True,
)  # fmt: skip
ITEMS, TYPES = b"a:1\nb:2\nc:3\n", b"view\nbuy\n"
CODES = HistoryCodes(LAYOUT, ITEMS, TYPES)
TARGET = Target("", "ranker", signature="rank")


def decoded(inputs: dict[str, Any], layout: HistoryLayout = LAYOUT) -> list[list[Any]]:
    rows = [np.frombuffer(row, layout.record) for row in inputs["history_codes"]]
    return [[tuple(event) for event in row.tolist()] for row in rows]


def encode(*requests: RankRequest, codes: HistoryCodes = CODES) -> dict[str, Any]:
    return codes.encode(rank_inputs(requests))


def test_records_by_hand():
    history = [
        Event("c:3", "buy", 10 * SECOND),  # the fourth newest of those that are known
        Event("a:1", "view", 10 * SECOND, 2.5, "hat"),
        Event("new:1", "view", 11 * SECOND),
        Event("b:2", "swap", 65 * SECOND, 99.0),
        Event("a:1", "buy", 69 * SECOND + 1, -1.0, "coat"),
    ]
    found = encode(RankRequest(history, ["b:2"], request_time=70 * SECOND), RankRequest())
    # item, type, age, value, query: the oldest is 60 s old, the next 5 s, the last less than 1
    assert decoded(found) == [[(1, 1, 3, 2, 1), (2, 0, 2, 15, 0), (1, 2, 0, 0, 2)], []]
    assert found["history_queries"].tolist() == [[b"", b"hat", b"coat"], [b"", b"", b""]]
    assert found["history_version"].tolist() == [CODES.version.encode()] * 2
    assert found["candidate_ids"].tolist() == [[b"b:2"], [b""]]
    assert "history_ids" not in found and LAYOUT.record.itemsize == 7


def test_ages_count_from_the_newest_known_event_where_the_request_has_no_time():
    history = [
        Event("a:1", "view", 0),
        Event("b:2", "view", 5 * SECOND),
        Event("x:1", "view", 10**9),
    ]
    found = encode(RankRequest(history, request_time=0), RankRequest(history[:1], request_time=-1))
    assert [[event[2] for event in row] for row in decoded(found)] == [[2, 0], [0]]


def test_what_a_model_does_not_read_takes_no_bytes():
    bare = HistoryLayout(entities=70_000, event_types=3, window=9)
    codes = HistoryCodes(bare, ITEMS, TYPES)
    found = encode(RankRequest([Event("b:2", "buy", 5, 3.0, "hat")]), codes=codes)
    assert decoded(found, bare) == [[(2, 2)]] and bare.record.itemsize == 5
    assert found["history_queries"].tolist() == [[b""]]


def test_a_batch_is_coded_as_its_rows_are():
    generator = np.random.default_rng(0)
    requests = []
    for length in (0, 7, 1, 0, 30, 2):
        times = np.sort(generator.integers(0, 100 * SECOND, length)).tolist()
        ids = [f"{'abcx'[n]}:{n + 1}" for n in generator.integers(0, 4, length)]
        words = generator.choice(["", "hat", "coat"], length).tolist()
        events = [Event(i, "view", t, 1.0, q) for i, t, q in zip(ids, times, words, strict=True)]
        requests.append(RankRequest(events, request_time=90 * SECOND))
    together = encode(*requests)["history_codes"]
    assert together.tolist() == [encode(one)["history_codes"][0] for one in requests]


def test_a_history_of_ten_thousand_events_takes_a_fraction_of_its_ids():
    generator = np.random.default_rng(0)
    ids = [f"item:{number:08d}" for number in range(1_000_000, 1_100_000)]
    ages = tuple((2**place) * SECOND for place in range(31))
    layout = HistoryLayout(100_001, 5, 10_000, ages, 16, queries=True)
    codes = HistoryCodes(layout, "\n".join([*ids, ""]).encode(), b"view\nclick\ncart\nbuy\n")
    words = [f"red shoes {number}" for number in range(300)]
    history = [
        Event(ids[item], "click", 1_700_000_000 * SECOND + 60 * SECOND * place, 0.0, words[query])
        for place, (item, query) in enumerate(
            zip(generator.integers(0, 100_000, 10_000), generator.integers(0, 300, 10_000),
                strict=True)
        )
    ]  # fmt: skip
    request = RankRequest(history, ids[:100])
    inputs = rank_inputs([request])
    as_ids = predict_request(TARGET, inputs).ByteSize()
    as_codes = predict_request(TARGET, codes.encode(inputs)).ByteSize()
    context = predict_request(TARGET, rank_inputs([RankRequest([], ids[:100])])).ByteSize()
    queries = sum(len(word) + 2 for word in words)
    assert layout.record.itemsize == 9
    assert as_codes - context - queries < 10_000 * 9.02
    assert as_ids - context > 10_000 * 38  # an id, a type, a time, a value, a position
    assert as_ids > 4 * as_codes


@pytest.fixture
def servable(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "entity").write_bytes(ITEMS)
    (tmp_path / "assets" / "event_type").write_bytes(TYPES)
    said = {
        "layout": dataclasses.asdict(LAYOUT),
        "version": CODES.version,
        "vocabularies": ["assets/entity", "assets/event_type"],
    }
    (tmp_path / "servable.json").write_text(json.dumps({"history_codes": said}))
    return tmp_path


def test_codes_are_read_from_a_servable_whose_files_belong_together(servable: Path):
    assert HistoryCodes.read(servable).version == CODES.version
    (servable / "assets" / "entity").write_bytes(ITEMS + b"d:4\n")
    with pytest.raises(ValueError, match=f"codes of version `{CODES.version}`.*the whole version"):
        HistoryCodes.read(servable)
    (servable / "servable.json").write_text("{}")
    with pytest.raises(ValueError, match="`history_codes: true`"):
        HistoryCodes.read(servable)


def test_another_layout_or_vocabulary_has_another_version():
    others = [
        HistoryCodes(dataclasses.replace(LAYOUT, values=8), ITEMS, TYPES),
        HistoryCodes(LAYOUT, ITEMS + b"d:4\n", TYPES),
        HistoryCodes(LAYOUT, ITEMS, TYPES + b"swap\n"),
        HistoryCodes(LAYOUT, ITEMS + TYPES, b""),
        CODES,
    ]
    assert len({codes.version for codes in others}) == len(others)


def answer(method: str, request: Any, accepted: str, words: str) -> Any:
    """Answers ids, and codes of one version."""
    if request.model_spec.signature_name == "rank_codes":
        [version] = from_proto(request.inputs["history_version"])
        if version.decode() != accepted:
            return grpc.StatusCode.INVALID_ARGUMENT, words
    response = protos.PredictResponse()
    by_codes = request.model_spec.signature_name == "rank_codes"
    fill_proto(response.outputs["scores"], np.array([[0.25 if by_codes else 0.5]], np.float32))
    return response


STALE = "assertion failed: [Expected history codes of version `0a1b`. Received:] [`x`]"
WITHOUT = 'Serving signature key "rank_codes" not found in signature def'


@pytest.mark.parametrize("ask", [ask_sync, ask_async])
@pytest.mark.parametrize(
    ("accepted", "words", "calls", "score"),
    [(CODES.version, "", 2, 0.25), ("0a1b", STALE, 3, 0.5), ("", WITHOUT, 3, 0.5)],
)
def test_histories_go_as_codes_and_as_ids_where_these_are_refused(
    ask: Any, accepted: str, words: str, calls: int, score: float, caplog: Any
):
    def reply(method: str, request: Any) -> Any:
        return answer(method, request, accepted, words)

    def rank_twice(client: Any) -> Any:
        first = client.rank([Event("a:1", "view", 1)], ["b:2"])
        if not hasattr(first, "__await__"):
            return [first, client.rank([], ["b:2"])]
        return twice(first, client)

    async def twice(first: Any, client: Any) -> Any:
        return [await first, await client.rank([], ["b:2"])]

    with caplog.at_level(logging.WARNING), Scripted(reply=reply) as server:
        rankings = ask(server.address, rank_twice, history_codes=CODES)
    assert [ranking.scores.tolist() for ranking in rankings] == [[score]] * 2
    assert server.calls == calls
    assert ("as ids for 60 seconds" in caplog.text) == (score == 0.5)
