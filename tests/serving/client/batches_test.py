"""Batches that are longer than a server takes, and batches with a row that it refuses."""

from __future__ import annotations

import time
from typing import Any

import grpc
import numpy as np
import pytest

from serving.client import ArgumentError
from serving.client import DeadlineError
from serving.client import Event
from serving.client import InvalidRequestError
from serving.client import Recommendation
from serving.client import Request
from serving.client import TooManyRowsError
from serving.client import UnavailableError
from serving.client import protos
from serving.client.tensors import fill_proto
from serving.client.tensors import from_proto
from tests.serving.client.scripted import Scripted
from tests.serving.client.scripted import ask_async
from tests.serving.client.scripted import ask_sync

either_client = pytest.mark.parametrize("ask", [ask_sync, ask_async])
INVALID = grpc.StatusCode.INVALID_ARGUMENT


class Server:
    """Answers each row with its own key; refuses long batches and rows that are garbage."""

    def __init__(self, most: int = 1 << 20) -> None:
        self.most = most
        self.rows: list[int] = []  # of each call

    def __call__(self, method: str, request: Any) -> Any:
        examples = "examples" in request.inputs
        keys = from_proto(request.inputs["examples" if examples else "query"])
        self.rows.append(len(keys))
        if len(keys) > self.most:
            words = f"Task size {len(keys)} is larger than maximum input batch size {self.most}"
            return INVALID, words
        if any(b"garbage" in key for key in keys):
            return INVALID, "Could not parse example input, value: 'garbage'"
        response = protos.PredictResponse()
        ids = np.array([[b"for:" + key] for key in keys], object)
        fill_proto(response.outputs["classes" if examples else "ids"], ids)
        fill_proto(response.outputs["scores"], np.ones((len(keys), 1), np.float32))
        return response


def requests_of(*keys: str) -> list[Request]:
    return [Request(query=key) for key in keys]


def ids_of(answers: list[Any]) -> list[str]:
    return [answer.ids[0] for answer in answers]


@either_client
def test_a_server_that_takes_fewer_rows_is_asked_with_as_many_as_it_says(ask):
    reply, keys = Server(most=64), [str(i) for i in range(300)]

    with Scripted(reply=reply) as server:
        answers = ask(server.address, lambda c: c.recommend_batch(requests_of(*keys)))
        assert ids_of(answers) == [f"for:{key}" for key in keys]
        assert reply.rows == [256, 64, 64, 64, 64, 44]
        answers = ask(server.address, lambda c: c.recommend_examples([k.encode() for k in keys]))
        assert ids_of(answers) == [f"for:{key}" for key in keys]


@either_client
def test_the_requests_of_a_long_batch_share_one_deadline(ask):
    def slow(method: str, request: Any) -> Any:
        time.sleep(0.4)
        return Server()(method, request)

    with Scripted(reply=slow) as server:
        batch = requests_of(*"abc")
        ask(server.address, lambda c: c.recommend_batch(batch, timeout=9.0), max_rows=1)
    first, second, third = server.seconds
    assert second < first - 0.3 and third < second - 0.3
    with Scripted(reply=slow) as server:
        with pytest.raises(DeadlineError, match="no answer within 0.9 s|Deadline Exceeded"):
            ask(server.address, lambda c: c.recommend_batch(batch * 9, timeout=0.9), max_rows=1)
    assert server.calls < 9


def test_the_client_remembers_how_many_rows_the_server_takes():
    def twice(client: Any) -> None:
        client.recommend_batch(requests_of(*"abcde"))
        client.recommend_batch(requests_of(*"abc"))

    reply = Server(most=2)
    with Scripted(reply=reply) as server:
        ask_sync(server.address, twice)
    assert reply.rows == [5, 2, 2, 1, 2, 1]


@either_client
def test_a_batch_of_the_pushed_size_goes_as_it_is(ask):
    reply = Server(most=1024)
    with Scripted(reply=reply) as server:
        call = lambda c: c.recommend_batch(requests_of(*map(str, range(1024))))  # noqa: E731
        assert len(ask(server.address, call, max_rows=1024)) == 1024
        ask(server.address, call)
    assert reply.rows == [1024, 256, 256, 256, 256]


@either_client
def test_too_many_rows_that_cannot_be_cut_are_an_error_of_their_own(ask):
    with Scripted(reply=Server(most=1)) as server:
        inputs = {"query": np.array([b"a", b"b"], object)}
        with pytest.raises(TooManyRowsError, match="max_batch_size") as caught:
            ask(server.address, lambda c: c.predict("recommend", inputs))
    assert caught.value.allowed == 1
    with Scripted(reply=Server(most=0)) as server, pytest.raises(TooManyRowsError):
        ask(server.address, lambda c: c.recommend_batch(requests_of("a", "b")))


@either_client
@pytest.mark.parametrize("examples", [False, True])
def test_a_garbage_row_costs_the_others_nothing_when_rows_may_go_singly(ask, examples):
    keys = ["a", "garbage", "c", "d", "e"]

    def together(client: Any) -> Any:
        if examples:
            return client.recommend_examples([key.encode() for key in keys])
        return client.recommend_batch(requests_of(*keys))

    def each(client: Any) -> Any:
        if examples:
            return client.recommend_each_example([key.encode() for key in keys])
        return client.recommend_each(requests_of(*keys))

    reply = Server()
    with Scripted(reply=reply) as server:
        with pytest.raises(InvalidRequestError, match="garbage"):
            ask(server.address, together)
        answers = ask(server.address, each, max_rows=3)
    assert [type(answer) for answer in answers] == [
        Recommendation,
        InvalidRequestError,
        Recommendation,
        Recommendation,
        Recommendation,
    ]
    assert ids_of([a for a in answers if isinstance(a, Recommendation)]) == [
        f"for:{key}" for key in "acde"
    ]
    assert "Could not parse example" in answers[1].details
    assert reply.rows == [5, 3, 1, 1, 1, 2]  # only the refused batch goes singly


@either_client
def test_a_row_that_cannot_be_sent_costs_the_others_nothing_either(ask):
    late_first = Request([Event("a:1", "view", 9), Event("a:2", "view", 3)])
    rows = [Request(query="a"), late_first, Request(query="c")]
    with Scripted(reply=Server()) as server:
        first, wrong, last = ask(server.address, lambda c: c.recommend_each(rows))
    assert ids_of([first, last]) == ["for:a", "for:c"]
    assert isinstance(wrong, ArgumentError) and "goes back in time" in wrong.details


@either_client
def test_a_row_alone_is_tried_again_for_its_neighbours_may_have_been_at_fault(ask):
    """TF Serving merges requests of different clients, and refuses all of them."""
    neighbour = (INVALID, "Could not parse example input, value: 'of somebody else'")
    with Scripted(neighbour, reply=Server()) as server:
        (answer,) = ask(server.address, lambda c: c.recommend_each(requests_of("a")))
    assert answer.ids == ("for:a",)


@either_client
def test_other_failures_end_a_call_also_where_rows_may_go_singly(ask):
    down = (grpc.StatusCode.UNAVAILABLE, "going down")
    with Scripted(*[down] * 3, reply=Server()) as server, pytest.raises(UnavailableError):
        ask(server.address, lambda c: c.recommend_each(requests_of("a", "b")))
