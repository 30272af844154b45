"""Whatever goes wrong is a `ServingError` with its cause, of either client."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import EncodeError

from serving.client import ArgumentError
from serving.client import AsyncRecommenderClient
from serving.client import ClosedError
from serving.client import DeadlineError
from serving.client import Event
from serving.client import InvalidAnswerError
from serving.client import NotFoundError
from serving.client import RecommenderClient
from serving.client import Request
from serving.client import ServingError
from serving.client import TlsOptions
from serving.client import TooLargeError
from serving.client import protos
from serving.client.base import Step
from serving.client.tensors import fill_proto
from tests.serving.client.scripted import RawStatus
from tests.serving.client.scripted import Scripted
from tests.serving.client.scripted import ask_async
from tests.serving.client.scripted import ask_sync

either_client = pytest.mark.parametrize("ask", [ask_sync, ask_async])


def prediction(ids: Any, scores: Any) -> Any:
    response = protos.PredictResponse()
    fill_proto(response.outputs["ids"], ids)
    fill_proto(response.outputs["scores"], scores)
    return response


def metadata(packed: bytes) -> Any:
    response = protos.GetModelMetadataResponse()
    response.metadata["signature_def"].value = packed
    return response


@either_client
@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (prediction([[b"\xff\xfe"]], [[1.0]]), "can't decode byte 0xff"),
        (prediction([[7]], [[1.0]]), "`ids` to be strings.*received int64"),
        (prediction([[b"a:1"]], [[b"high"]]), "`scores` to be numbers.*received.*object"),
        (prediction([[b"a:1"]], [[np.inf]]), "NaN or inf"),
        (b"\xff\xff no message", "(?i)pars"),
    ],
)
def test_an_answer_that_cannot_be_used(ask, answer, cause):
    with Scripted(reply=lambda *_: answer) as server:
        with pytest.raises(InvalidAnswerError, match=cause) as caught:
            ask(server.address, lambda client: client.recommend())
    assert caught.value.code == "DATA_LOSS"
    assert "`recommend` of model `m`" in str(caught.value)


@either_client
@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (metadata(b"\xff junk"), "(?i)pars"),
        (protos.GetModelMetadataResponse(), "expected metadata `signature_def`"),
        (b"\xff\xff no message", "(?i)pars"),
    ],
)
def test_metadata_that_cannot_be_read(ask, answer, cause):
    with Scripted(reply=lambda *_: answer) as server:
        with pytest.raises(InvalidAnswerError, match=cause):
            ask(server.address, lambda client: client.metadata())


@either_client
def test_a_status_of_a_version_that_nobody_knows_is_its_number(ask):
    response = protos.GetModelStatusResponse()
    version = response.model_version_status.add(version=3, state=77)
    version.status.error_code = 500
    with Scripted(reply=lambda *_: response) as server:
        (status,) = ask(server.address, lambda client: client.model_status())
    assert (status.version, status.state, status.error_code) == (3, "state 77", "code 500")


@either_client
def test_a_status_of_a_version_that_cannot_be_read(ask):
    with Scripted(reply=lambda *_: b"\xff\xff") as server:
        with pytest.raises(InvalidAnswerError):
            ask(server.address, lambda client: client.model_status())


@either_client
def test_a_status_of_a_call_that_grpc_does_not_know(ask):
    words = "unknown code|status 500|UNKNOWN: no details"  # of older and newer gRPC
    with RawStatus(500) as server, pytest.raises(ServingError, match=words):
        ask(server.address, lambda client: client.recommend())


@either_client
@pytest.mark.parametrize(
    ("call", "cause"),
    [
        (lambda c: c.recommend([Event("\ud800", "view", 1)]), "strings of UTF-8.*ud800"),
        (lambda c: c.recommend(query="\ud800"), "strings of UTF-8"),
        (lambda c: c.recommend([Event(7, "view", 1)]), "Expected strings. Received: 7"),
        (
            lambda c: c.recommend([Event("a:1", "view", 1 << 63)]),
            "within int64.*9223372036854775808",
        ),
        (lambda c: c.recommend([Event("a:1", "view", 1.5)]), "whole microseconds.*1.5"),
        (lambda c: c.recommend([Event("a:1", "view", None)]), "`timestamp`.*None"),
        (lambda c: c.recommend(request_time=-(1 << 63) - 1), "`request_time`.*within int64"),
        (lambda c: c.recommend(None), "NoneType"),
        (lambda c: c.recommend(k=0), "`k` >= 1. Received: 0"),
        (lambda c: c.recommend(k=2.5), "`k` >= 1. Received: 2.5"),
        (lambda c: c.recommend_batch([{"history": []}]), "Expected `Request`s"),
        (lambda c: c.recommend_batch(3), "not iterable"),
        (lambda c: c.predict("s", {"x": np.zeros(1, complex)}), "Input `x`: Expected.*complex128"),
        (lambda c: c.predict("s", {"x": ["\ud800"]}), "Input `x`.*surrogates"),
        (lambda c: c.predict("s", [1]), "items"),
        (lambda c: c.predict(7, {}), "7 has type int|bad argument type"),
        (lambda c: c.recommend(timeout=0), "`timeout` in seconds, above 0.*Received: 0"),
        (lambda c: c.recommend(timeout=-1), "above 0"),
        (lambda c: c.recommend(timeout=float("inf")), "at most 1,000,000. Received: inf"),
        (lambda c: c.recommend(timeout=float("nan")), "Received: nan"),
        (lambda c: c.recommend(timeout="5"), "Received: '5'"),
        (lambda c: c.model_status(timeout=0), "above 0"),
        (lambda c: c.metadata(timeout=float("inf")), "Received: inf"),
        (lambda c: c.recommend_each([Request()], timeout=0), "above 0"),
    ],
)
def test_arguments_that_cannot_be_sent(ask, call, cause):
    with Scripted() as server:
        with pytest.raises(ArgumentError, match=cause) as caught:
            ask(server.address, call)
    assert server.calls == 0
    assert server.address in str(caught.value) and "Nothing was sent" in str(caught.value)
    assert isinstance(caught.value, ServingError) and isinstance(caught.value, ValueError)


@either_client
@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"timeout": 0}, "`timeout`"),
        ({"timeout": float("inf")}, "`timeout`.*inf"),
        ({"max_rows": 0}, "`max_rows` >= 1"),
        ({"max_rows": 2.5}, "`max_rows` >= 1"),
        ({"max_message_bytes": 0}, "`max_message_bytes` >= 1"),
        ({"version": 1, "label": "x"}, "a version or a label"),
        ({"tls": TlsOptions("/nowhere/ca.pem")}, "No such file.*/nowhere/ca.pem"),
    ],
)
def test_settings_that_cannot_be_used(ask, settings, cause):
    with pytest.raises(ArgumentError, match=cause):
        ask("127.0.0.1:1", lambda client: client.recommend(), **settings)


@either_client
@pytest.mark.parametrize(
    "error", [ValueError("exceeds maximum protobuf size of 2GB"), EncodeError("Failed")]
)
def test_a_request_that_protobuf_does_not_serialise_is_too_large(ask, error):
    """One of 2 GiB, without its memory."""

    class Huge:
        def SerializeToString(self) -> bytes:
            raise error

    def plan(client: Any) -> Any:
        yield Step("Predict", client.target.of("s"), Huge())

    with pytest.raises(TooLargeError, match="requests of 2 GiB and more") as caught:
        ask("127.0.0.1:1", lambda client: client._run(plan(client), None))
    assert caught.value.__cause__ is error


@either_client
@pytest.mark.parametrize("address", [None, 5, "\ud800", "", "no port"])
def test_addresses_that_are_none(ask, address):
    with pytest.raises(ServingError):
        ask(address, lambda client: client.recommend(), timeout=1)


@either_client
@pytest.mark.parametrize("settings", [{"version": "1"}, {"version": 1 << 63}, {"label": 7}])
def test_models_that_are_none(ask, settings):
    for call in (lambda c: c.recommend(), lambda c: c.model_status(), lambda c: c.metadata()):
        with pytest.raises(ArgumentError):
            ask("127.0.0.1:1", call, **settings)


@either_client
@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "FAILED_PRECONDITION"])
def test_tf_serving_words_for_an_unknown_label(ask, code):
    refusal = (grpc.StatusCode[code], "Unrecognized servable version label: canary")
    with Scripted(refusal) as server, pytest.raises(NotFoundError, match="`canary`"):
        ask(server.address, lambda client: client.recommend(), label="canary")


def test_use_after_close():
    with Scripted() as server:
        client = RecommenderClient(server.address, "m")
        client.close()
        for call in (client.recommend, client.model_status, client.metadata):
            with pytest.raises(ClosedError, match="closed channel"):
                call()
        client.close()

        async def main() -> None:
            client = AsyncRecommenderClient(server.address, "m")
            await client.close()
            for call in (client.recommend, client.model_status, client.metadata):
                with pytest.raises(ClosedError, match="closed"):
                    await call()
            await client.close()

        asyncio.run(main())
    assert server.calls == 0


@pytest.fixture
def held():
    """A server that holds calls until the test ends; `began` is set by the first."""
    began, end = threading.Event(), threading.Event()

    def reply(*_: Any) -> Any:
        began.set()
        end.wait(60)
        return protos.PredictResponse()

    with Scripted(reply=reply) as server:
        server.began = began
        yield server
        end.set()


def test_close_during_a_call(held):
    client = RecommenderClient(held.address, "m", timeout=60)

    def close() -> None:
        held.began.wait(60)
        client.close()

    closing = threading.Thread(target=close)
    closing.start()
    with pytest.raises(ClosedError, match="`recommend` of model `m`.*closed"):
        client.recommend()
    closing.join()
    assert held.calls == 1


def test_close_during_calls_on_an_event_loop(held):
    async def main() -> list[Any]:
        client = AsyncRecommenderClient(held.address, "m", timeout=60)
        calls = [asyncio.ensure_future(client.recommend()) for _ in range(3)]
        await asyncio.to_thread(held.began.wait, 60)
        await client.close()
        return await asyncio.gather(*calls, return_exceptions=True)

    assert [type(failure) for failure in asyncio.run(main())] == [ClosedError] * 3


def test_a_cancelled_task_is_cancelled_also_when_the_client_is_closed_at_once(held):
    async def main() -> Any:
        client = AsyncRecommenderClient(held.address, "m", timeout=60)
        call = asyncio.ensure_future(client.recommend())
        await asyncio.to_thread(held.began.wait, 60)
        call.cancel()
        await client.close()
        (result,) = await asyncio.gather(call, return_exceptions=True)
        return result

    assert isinstance(asyncio.run(main()), asyncio.CancelledError)


def test_a_client_of_an_event_loop_that_has_ended():
    with Scripted() as server:

        async def make() -> AsyncRecommenderClient:
            return AsyncRecommenderClient(server.address, "m")

        client = asyncio.run(make())

        async def use() -> None:
            with pytest.raises(ClosedError, match="one event loop"):
                await client.recommend(timeout=1)

        asyncio.run(use())


def test_a_timeout_of_a_call_stands_in_for_the_clients(held):
    with RecommenderClient(held.address, "m", timeout=6000) as client:
        with pytest.raises(DeadlineError):
            client.recommend(timeout=0.05)
