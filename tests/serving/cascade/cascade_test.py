"""Retrieve, then rank, over real servers: both scores, one deadline, and every way to fall back."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serving.cascade import AsyncCascade
from serving.cascade import Cascade
from serving.cascade import RankedItem
from serving.client import ArgumentError
from serving.client import AsyncRecommenderClient
from serving.client import CatalogueRow
from serving.client import DeadlineError
from serving.client import Event
from serving.client import NotFoundError
from serving.client import RecommenderClient
from serving.client import Request
from serving.client import UnavailableError
from serving.client import protos
from serving.client.catalogue_rows import serialise_row
from serving.client.retry import Deadline
from serving.client.tensors import fill_proto
from serving.client.tensors import from_proto
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig
from tests.helpers.rankers import save_tiny_ranker
from tests.serving.client.scripted import FAST
from tests.serving.client.scripted import Scripted
from tests.serving.local_server.tiny import save_tiny

HISTORY = [Event("a:1", "view", 5), Event("a:2", "view", 6)]


def serve(**models: Path) -> Any:
    from serving.local_server.server import LocalServer

    configs = tuple(ModelConfig(name=name, base_path=path) for name, path in models.items())
    return LocalServer(ServerConfig(models=configs, port=0, rest_port=None))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Directories of a retrieval model and of its ranker."""
    base = tmp_path_factory.mktemp("cascade")
    for name in ("retrieval", "ranking"):
        (base / name).mkdir()
    save_tiny(base / "retrieval", 1)
    kept = save_tiny_ranker(base / "ranking" / "3")
    yield base / "retrieval", base / "ranking"
    del kept


@pytest.fixture(scope="module")
def server(bases: tuple[Path, Path]) -> Iterator[Any]:
    with serve(shop=bases[0], ranking=bases[1]) as running:
        yield running


def ask_sync(first: Any, second: Any, call: Any, **settings: Any) -> Any:
    """Returns what `call` returns for a cascade of (address, model, settings) twice."""
    with _client(RecommenderClient, first) as retriever, _client(RecommenderClient, second) as r:
        return call(Cascade(retriever, r, **settings))


def ask_async(first: Any, second: Any, call: Any, **settings: Any) -> Any:
    """The same for an asynchronous cascade, awaited."""

    async def main() -> Any:
        async with (
            _client(AsyncRecommenderClient, first) as retriever,
            _client(AsyncRecommenderClient, second) as ranker,
        ):
            return await call(AsyncCascade(retriever, ranker, **settings))

    return asyncio.run(main())


def _client(kind: Any, given: Any) -> Any:
    address, model, settings = given
    return kind(address, model, **{"retry": FAST, "timeout": 60, **settings})


either = pytest.mark.parametrize("ask", [ask_sync, ask_async])


@either
def test_items_come_in_the_rankers_order_with_both_scores(ask, server):
    first = (server.address, "shop", {"version": 1})
    second = (server.address, "ranking", {})
    answer = ask(first, second, lambda c: c.recommend(HISTORY, k=3), fetch=4)
    assert answer.items == (
        RankedItem("v1:2:3", 0.0, pytest.approx(0.3)),
        RankedItem("v1:2:2", 1.0, pytest.approx(0.2)),
        RankedItem("v1:2:1", 2.0, pytest.approx(0.1)),
    )
    assert answer.ids == ("v1:2:3", "v1:2:2", "v1:2:1") and len(answer) == 3
    assert answer.retrieval.ids == ("v1:2:0", "v1:2:1", "v1:2:2", "v1:2:3")
    assert answer.ranking.heads["buy"].tolist() == (-answer.ranking.scores).tolist()
    assert (answer.retrieval.version, answer.ranking.version) == (1, 3)
    assert (answer.is_fallback, answer.reason, answer.error) == (False, "", None)


@either
def test_the_score_of_the_retrieval_can_count(ask, server):
    both = (server.address, "shop", {"version": 1}), (server.address, "ranking", {})
    settings = {"fetch": 4, "retrieval_weight": 0.6}
    answer = ask(*both, lambda c: c.recommend(HISTORY, k=4), **settings)

    # log odds of .3, .2, .1 and 0 + .6 times 0, 1, 2 and 3, with log odds of 0 bounded
    logits = [math.log(p / (1 - p)) + 0.6 * s for p, s in ((0.3, 0), (0.2, 1), (0.1, 2))]
    assert sorted(logits, reverse=True) == [logits[1], logits[0], logits[2]]
    assert answer.ids == ("v1:2:2", "v1:2:3", "v1:2:1", "v1:2:0")
    assert answer.items[0] == RankedItem("v1:2:2", 1.0, pytest.approx(0.2))
    assert answer.ranking.ids[0] == "v1:2:3"


@either
def test_at_least_k_items_are_fetched(ask, server):
    both = (server.address, "shop", {}), (server.address, "ranking", {})
    assert len(ask(*both, lambda c: c.recommend(HISTORY, k=5), fetch=1)) == 5


@either
def test_many_users_go_in_as_many_parts_as_either_client_sends_rows(ask, server):
    requests = [Request(HISTORY[:n]) for n in (0, 2, 1, 2, 0)]
    first = (server.address, "shop", {"max_rows": 4})
    second = (server.address, "ranking", {"max_rows": 2})
    answers = ask(first, second, lambda c: c.recommend_batch(requests, k=1))
    assert [answer.ids for answer in answers] == [(f"v1:{n}:4",) for n in (0, 2, 1, 2, 0)]


@either
def test_rows_of_new_items_are_sent_to_the_ranker(ask, server):
    row = CatalogueRow("New")
    both = (server.address, "shop", {}), (server.address, "ranking", {})
    best = ask(*both, lambda c: c.recommend(HISTORY, k=1), rows={"v1:2:1": row})
    assert best.items == (RankedItem("v1:2:1", 2.0, pytest.approx(0.1 + len(_bytes(row)))),)


def _bytes(row: CatalogueRow) -> bytes:
    return serialise_row("v1:2:1", row)


@either
@pytest.mark.parametrize(
    ("model", "settings", "reason"),
    [
        ("nobody", {}, "no model `nobody`"),
        ("ranking", {"version": 9}, "no version 9"),
        ("ranking", {"label": "stable"}, "no version label `stable`"),
        ("shop", {}, "no signature `rank`"),
    ],
)
def test_a_ranker_that_is_not_there_leaves_the_order_of_the_retrieval(
    ask, server, model, settings, reason
):
    both = (server.address, "shop", {}), (server.address, model, settings)
    answer = ask(*both, lambda c: c.recommend(HISTORY, k=2))
    assert answer.items == (RankedItem("v1:2:0", 3.0, None), RankedItem("v1:2:1", 2.0, None))
    assert answer.is_fallback and answer.ranking is None
    assert isinstance(answer.error, NotFoundError) and reason in answer.reason


@either
def test_a_ranker_that_is_stopped_in_between(ask, bases):
    with serve(shop=bases[0]) as retrieval:
        ranking = serve(ranking=bases[1])
        ranking.start()
        try:
            both = (retrieval.address, "shop", {}), (ranking.address, "ranking", {})
            before = ask(*both, lambda c: c.recommend(HISTORY, k=2))
        finally:
            ranking.stop(drain_seconds=0)
        after = ask(*both, lambda c: c.recommend(HISTORY, k=2))
    assert (before.ids, before.is_fallback) == (("v1:2:4", "v1:2:3"), False)
    assert (after.ids, after.is_fallback) == (("v1:2:0", "v1:2:1"), True)
    assert isinstance(after.error, UnavailableError)
    assert f"`rank` of model `ranking` (latest version) at {ranking.address}" in after.reason


@either
def test_a_ranker_that_is_too_slow_for_what_is_left(ask, bases, tmp_path):
    gate = threading.Event()
    kept = save_tiny_ranker(tmp_path / "slow" / "1", gate)
    with serve(shop=bases[0], slow=tmp_path / "slow") as running:
        both = (running.address, "shop", {}), (running.address, "slow", {})
        late = ask(*both, lambda c: c.recommend(HISTORY, k=2, timeout=3.0))
        gate.set()
        in_time = ask(*both, lambda c: c.recommend(HISTORY, k=2))
    assert (late.ids, late.is_fallback) == (("v1:2:0", "v1:2:1"), True)
    assert isinstance(late.error, DeadlineError) and "`rank` of model `slow`" in late.reason
    assert (in_time.ids, in_time.is_fallback) == (("v1:2:4", "v1:2:3"), False)
    del kept


def recommendation(pause: float) -> Any:
    def reply(method: str, request: Any) -> Any:
        time.sleep(pause)
        rows = len(from_proto(request.inputs["history_ids"]))
        response = protos.PredictResponse()
        fill_proto(response.outputs["ids"], np.array([[b"a", b"b"]] * rows, object))
        fill_proto(response.outputs["scores"], np.array([[2.0, 1.0]] * rows, np.float32))
        return response

    return reply


def ranking_of(scores: list[float], asked: list[Any]) -> Any:
    def reply(method: str, request: Any) -> Any:
        asked.append(request)
        rows = len(from_proto(request.inputs["history_ids"]))
        response = protos.PredictResponse()
        fill_proto(response.outputs["scores"], np.array([scores] * rows, np.float32))
        return response

    return reply


@either
def test_both_calls_share_one_deadline_and_one_time_of_the_request(ask):
    asked: list[Any] = []
    times: list[Any] = []

    def retrieve(method: str, request: Any) -> Any:
        times.append(from_proto(request.inputs["request_time"]).tolist())
        return recommendation(0.5)(method, request)

    with Scripted(reply=retrieve) as one, Scripted(reply=ranking_of([0.1, 0.2], asked)) as two:
        both = (one.address, "m", {}), (two.address, "m", {})
        answer = ask(*both, lambda c: c.recommend(HISTORY), timeout=30.0)
        ask(*both, lambda c: c.recommend(HISTORY, request_time=7, timeout=20.0), timeout=30.0)
    assert answer.ids == ("b", "a")
    assert one.seconds[1] < 20.5 < one.seconds[0] < 30.5  # gRPC rounds to tenths on its way
    for first, second in zip(one.seconds, two.seconds, strict=True):
        assert second <= first - 0.3
    assert [from_proto(r.inputs["request_time"]).tolist() for r in asked] == times
    assert times[1] == [7] and times[0][0] > 1_600_000_000_000_000


@either
def test_a_deadline_that_the_retrieval_used_up_leaves_nothing_to_ask_the_ranker(ask, monkeypatch):
    with Scripted(reply=recommendation(0.0)) as one, Scripted() as two:
        both = (one.address, "m", {}), (two.address, "n", {})
        clock = iter([0.0, 30.0])
        for module in ("cascade", "aio"):
            monkeypatch.setattr(
                f"serving.cascade.{module}.Deadline",
                lambda seconds: Deadline(seconds, lambda: next(clock)),
            )
        answer = ask(*both, lambda c: c.recommend(HISTORY), timeout=30.0)
    assert answer.ids == ("a", "b") and two.calls == 0
    assert isinstance(answer.error, DeadlineError)
    assert "model `n`" in answer.reason and "no answer within 30.0 s" in answer.reason


@either
def test_a_failing_ranker_is_tried_again_within_what_is_left_and_then_given_up(ask):
    overloaded = (grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
    refused = (grpc.StatusCode.INTERNAL, "the graph raised")
    asked: list[Any] = []
    with Scripted(reply=recommendation(0.0)) as one:
        with Scripted(overloaded, reply=ranking_of([0.1, 0.2], asked)) as two:
            both = (one.address, "m", {}), (two.address, "m", {})
            assert ask(*both, lambda c: c.recommend(HISTORY)).ids == ("b", "a")
        with Scripted(refused, reply=ranking_of([0.1, 0.2], asked)) as two:
            both = (one.address, "m", {}), (two.address, "m", {})
            answer = ask(*both, lambda c: c.recommend(HISTORY))
        with Scripted(reply=ranking_of([np.nan, 0.2], asked)) as two:
            both = (one.address, "m", {}), (two.address, "m", {})
            unusable = ask(*both, lambda c: c.recommend(HISTORY))
    assert answer.ids == unusable.ids == ("a", "b")
    assert "INTERNAL: the graph raised" in answer.reason
    assert "NaN or inf in `scores`" in unusable.reason


@either
def test_where_nothing_is_fetched_the_ranker_is_not_asked(ask):
    def nothing(method: str, request: Any) -> Any:
        response = protos.PredictResponse()
        fill_proto(response.outputs["ids"], np.array([[b""]], object))
        fill_proto(response.outputs["scores"], np.array([[-np.inf]], np.float32))
        return response

    with Scripted(reply=nothing) as one, Scripted() as two:
        both = (one.address, "m", {}), (two.address, "m", {})
        answer = ask(*both, lambda c: c.recommend())
        assert ask(*both, lambda c: c.recommend_batch([])) == []
    assert (len(answer), answer.is_fallback, two.calls) == (0, False, 0)


@either
def test_a_retrieval_that_fails_and_wrong_arguments_are_errors(ask, server):
    lost = ("127.0.0.1:1", "shop", {})
    both = (server.address, "shop", {}), (server.address, "ranking", {})
    with pytest.raises(UnavailableError, match="`recommend` of model `shop`"):
        ask(lost, both[1], lambda c: c.recommend(HISTORY))
    for call, cause in (
        (lambda c: c.recommend(HISTORY, k=0), "`k` >= 1"),
        (lambda c: c.recommend(HISTORY, timeout=0), "`timeout`"),
        (lambda c: c.recommend_batch([3]), "Expected `Request`s"),
        (lambda c: c.recommend([Event("a:1", "rate", 1, "good")]), "numbers for `value`"),
    ):
        with pytest.raises(ArgumentError, match=cause):
            ask(*both, call)
    for settings in ({"fetch": 0}, {"timeout": -1}, {"retrieval_weight": -0.1}):
        with pytest.raises(ArgumentError, match=next(iter(settings))):
            ask(*both, lambda c: c.recommend(HISTORY), **settings)
