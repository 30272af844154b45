from __future__ import annotations

import grpc
import pytest

from serving.client import DeadlineError
from serving.client import NotFoundError
from serving.client import OverloadedError
from serving.client import RecommenderClient
from serving.client import RetryPolicy
from serving.client import ServingError
from serving.client import TooLargeError
from serving.client import UnavailableError
from serving.client.errors import Target
from serving.client.retry import Attempts
from serving.client.retry import Deadline
from tests.serving.client.scripted import FAST
from tests.serving.client.scripted import Scripted

TARGET = Target("host:1", "m", signature="recommend")
CODES = grpc.StatusCode


def ask(server: Scripted, **settings) -> None:
    with RecommenderClient(server.address, "m", retry=FAST, **settings) as client:
        client.predict("recommend", {"x": [1]})


@pytest.mark.parametrize("code", [CODES.UNAVAILABLE, CODES.CANCELLED, CODES.RESOURCE_EXHAUSTED])
def test_transient_failures_are_tried_again(code):
    with Scripted((code, "busy"), (code, "busy")) as server:
        ask(server)
    assert server.calls == 3


def test_attempts_are_bounded():
    with Scripted(*[(CODES.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")] * 9) as server:
        with pytest.raises(OverloadedError, match="Threadpool Exhausted"):
            ask(server)
    assert server.calls == 3


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (CODES.NOT_FOUND, NotFoundError),
        (CODES.INTERNAL, ServingError),
        (CODES.FAILED_PRECONDITION, ServingError),
        (CODES.DEADLINE_EXCEEDED, DeadlineError),
    ],
)
def test_other_failures_are_final(code, kind):
    with Scripted((code, "no")) as server, pytest.raises(kind) as caught:
        ask(server)
    assert server.calls == 1
    assert caught.value.code == code.name


def test_tf_serving_words_for_an_unknown_signature():
    words = 'Serving signature name: "rank" not found in signature def'
    with Scripted((CODES.INVALID_ARGUMENT, words)) as server:
        with pytest.raises(NotFoundError, match=r"metadata\(\)"):
            ask(server)


def test_a_message_that_is_too_large_is_not_sent_again():
    full = (CODES.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)")
    with Scripted(full) as server, pytest.raises(TooLargeError, match="max_message_bytes"):
        ask(server)
    assert server.calls == 1


def test_a_message_that_is_too_large_is_not_even_sent():
    with Scripted() as server, pytest.raises(TooLargeError, match="of 10 allowed"):
        ask(server, max_message_bytes=10)
    assert server.calls == 0


def test_errors_name_server_model_label_signature_and_advice():
    with Scripted((CODES.NOT_FOUND, "no such thing")) as server:
        with pytest.raises(NotFoundError) as caught:
            ask(server, label="canary")
    text = str(caught.value)
    for part in ("`recommend`", "`m`", "`canary`", str(server.port), "NOT_FOUND", "no such thing"):
        assert part in text
    assert "metadata()" in text


def test_nobody_at_the_address():
    with Scripted() as server:
        pass  # stopped: nobody listens at its port any more
    with pytest.raises(UnavailableError, match="Check the address"):
        ask(server)


def test_delays_grow_to_their_bound_and_jitter_shortens_them():
    policy = RetryPolicy(first_delay=0.1, multiplier=2, max_delay=0.3, jitter=0.5)
    assert [policy.delay(n, 0.0) for n in (1, 2, 3)] == [0.1, 0.2, 0.3]
    assert policy.delay(1, 1.0) == pytest.approx(0.05)


def test_all_attempts_share_one_deadline():
    now = [0.0]
    policy = RetryPolicy(attempts=9, first_delay=0.4, jitter=0.0)
    attempts = Attempts(policy, Deadline(1.0, lambda: now[0]), TARGET, draw=lambda: 0.0)
    failure = UnavailableError(TARGET, "UNAVAILABLE", "down")
    assert attempts.remaining() == 1.0
    now[0] = 0.5
    assert attempts.remaining() == 0.5
    assert attempts.next_delay(failure) == 0.4
    now[0] = 0.9
    assert attempts.next_delay(failure) is None  # 0.8 more would be too late
    now[0] = 1.0
    with pytest.raises(DeadlineError, match="within 1.0 s"):
        attempts.remaining()


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"multiplier": -1.0}, {"max_delay": -1.0}, {"first_delay": -0.1}]
)
def test_policies_are_checked(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
        RetryPolicy(**wrong)


def test_a_delay_beyond_any_float_is_the_longest():
    assert RetryPolicy(attempts=9999, max_delay=0.3).delay(5000, 0.0) == 0.3


@pytest.mark.parametrize(
    "settings", [{"version": 1, "label": "x"}, {"timeout": 0}, {"max_rows": 0}]
)
def test_settings_are_checked(settings):
    with pytest.raises(ValueError, match="Expected"):
        RecommenderClient("127.0.0.1:1", "m", **settings)
