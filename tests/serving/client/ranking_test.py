"""Ranking requests: their inputs, their answers, and what is wrong with either."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest

from serving.client import ArgumentError
from serving.client import Candidate
from serving.client import CatalogueRow
from serving.client import DeadlineError
from serving.client import Event
from serving.client import InvalidAnswerError
from serving.client import RankRequest
from serving.client import TooLargeError
from serving.client import protos
from serving.client.catalogue_rows import serialise_row
from serving.client.ranking import rank_inputs
from serving.client.tensors import fill_proto
from serving.client.tensors import from_proto
from tests.helpers.timelines import row
from tests.serving.client.scripted import Scripted
from tests.serving.client.scripted import ask_async
from tests.serving.client.scripted import ask_sync
from transforms import features as f

either_client = pytest.mark.parametrize("ask", [ask_sync, ask_async])
USER = [Event("a:1", "view", 5), Event("a:2", "rate", 6, 4.5, "hat"), Event("a:1", "buy", 6)]


def answer(**outputs: Any) -> Any:
    response = protos.PredictResponse()
    for name, values in outputs.items():
        fill_proto(response.outputs[name], np.asarray(values, np.float32))
    return response


def test_inputs_of_two_users_by_hand():
    inputs = rank_inputs(
        [
            RankRequest(USER, ["b:1", Candidate("b:2", b"row"), ("b:3", None)], "red", ("x=1",), 7),
            RankRequest(candidates=[], request_time=0),
        ]
    )
    assert {name: value.tolist() for name, value in inputs.items()} == {
        "history_ids": [[b"a:1", b"a:2", b"a:1"], [b"", b"", b""]],
        "history_events": [[b"view", b"rate", b"buy"], [b"", b"", b""]],
        "history_timestamps": [[5, 6, 6], [0, 0, 0]],
        "history_values": [[0.0, 4.5, 0.0], [0.0, 0.0, 0.0]],
        "history_queries": [[b"", b"hat"], [b"", b""]],
        "history_query_index": [[0, 1, 0], [0, 0, 0]],
        "history_length": [3, 0],
        "request_time": [7, 0],
        "query": [b"red", b""],
        "user_attributes": [[b"x=1"], [b""]],
        "user_attributes_length": [1, 0],
        "candidate_ids": [[b"b:1", b"b:2", b"b:3"], [b"", b"", b""]],
        "candidate_length": [3, 0],
        "candidate_rows": [[b"", b"row", b""], [b"", b"", b""]],
    }
    assert inputs["history_values"].dtype == np.float32
    assert inputs["history_query_index"].dtype == np.int32


def test_a_query_that_led_to_many_events_is_sent_once():
    history = [Event("a:1", "view", n, query=("red hat", "", "coat")[n % 3]) for n in range(9_000)]
    inputs = rank_inputs([RankRequest(history)])
    assert inputs["history_queries"].tolist() == [[b"", b"red hat", b"coat"]]
    assert inputs["history_query_index"][0, :6].tolist() == [1, 0, 2, 1, 0, 2]
    with pytest.raises(ValueError, match=r"strings. Received: \['red'\]"):
        rank_inputs([RankRequest([Event("a:1", "view", 1, query=["red"])])])


def test_no_dimension_is_empty_without_history_and_candidates():
    assert {value.shape for value in rank_inputs([RankRequest()]).values()} == {(1,), (1, 1)}


def test_a_catalogue_row_is_what_the_example_generator_writes():
    import tensorflow as tf

    made = serialise_row(
        "item:7", CatalogueRow("A red thing", ["shoes"], ["brand=3"], 2.5, [1.0, 0.5], [0.25])
    )
    written = row(
        "item:7",
        title="A red thing",
        categories=["shoes"],
        attributes=["brand=3"],
        price=2.5,
        image_vector=[1.0, 0.5],
        text_vector=[0.25],
    )
    assert tf.train.Example.FromString(made) == tf.train.Example.FromString(written)
    bare = tf.train.Example.FromString(serialise_row("item:7", CatalogueRow()))
    assert set(bare.features.feature) == {f.CATALOGUE_ENTITY, f.CATALOGUE_TYPE}


def test_a_catalogue_row_carries_declared_fields_and_an_image():
    import tensorflow as tf

    given = CatalogueRow(
        vectors={"style": [1.0, 0.5]}, tokens={"cluster": ["c1", "c2"]}, image=b"\x89PNG"
    )
    fields = {"vector/style": [1.0, 0.5], "token/cluster": ["c1", "c2"], "image": b"\x89PNG"}
    assert tf.train.Example.FromString(
        serialise_row("item:7", given)
    ) == tf.train.Example.FromString(row("item:7", **fields))
    for odd in (CatalogueRow(vectors={"style": [float("nan")]}), CatalogueRow(tokens={"c": "c1"})):
        with pytest.raises(ValueError, match="catalogue/(vector/style|token/c)"):
            serialise_row("item:7", odd)


def test_candidates_that_can_be_read_once_are_refused():
    with pytest.raises(ValueError, match="sequence of `candidates`. Received: generator"):
        rank_inputs([RankRequest(candidates=(name for name in ["b:1"]))])


@either_client
def test_candidates_come_back_best_first_with_the_scores_of_every_head(ask):
    asked = []

    def reply(method: str, request: Any) -> Any:
        asked.append(request)
        # wider than what was sent, as servers answer that pad
        return answer(scores=[[0.25, 0.5, 0.5, 9.0, 9.0]], buy=[[0.75, 0.125, 0.0, 9.0, 9.0]])

    with Scripted(reply=reply) as server:
        found = ask(server.address, lambda c: c.rank(USER, ["b:1", "b:2", "b:3"], request_time=9))
    assert found.ids == ("b:2", "b:3", "b:1")  # equal ones in the order sent
    assert found.scores.tolist() == [0.5, 0.5, 0.25]
    assert {name: scores.tolist() for name, scores in found.heads.items()} == {
        "buy": [0.125, 0.0, 0.75]
    }
    assert len(found) == 3
    (request,) = asked
    assert request.model_spec.signature_name == "rank"
    assert from_proto(request.inputs["request_time"]).tolist() == [9]


@either_client
def test_long_batches_go_as_several_requests_and_keep_their_order(ask):
    sizes = []

    def reply(method: str, request: Any) -> Any:
        ids = from_proto(request.inputs["candidate_ids"])
        sizes.append(ids.shape)
        return answer(scores=[[len(name) for name in line] for line in ids])

    requests = [
        RankRequest(USER, ["b:" + "x" * (i * 7 % 5) for i in range(n % 4)]) for n in range(7)
    ]
    with Scripted(reply=reply) as server:
        found = ask(server.address, lambda c: c.rank_batch(requests), max_rows=3)
    assert sizes == [(3, 2), (3, 3), (1, 2)]
    for one, request in zip(found, requests, strict=True):
        assert sorted(one.ids) == sorted(request.candidates)
        assert one.scores.tolist() == [len(name) for name in one.ids]


@either_client
@pytest.mark.parametrize(
    ("candidates", "cause"),
    [
        ("b:1", "sequence of `candidates`"),
        ([7], r"ids `type:id` or as `Candidate\(id, row\)`. Received: 7"),
        ([""], "Received: Candidate.id='', row=None"),
        ([("b:1", "title")], "`CatalogueRow` or a serialised one for `b:1`. Received: 'title'"),
        ([("b:1", CatalogueRow(categories="shoes"))], "sequence of strings for `catalogue/cat"),
        ([("b:1", CatalogueRow(price="dear"))], "numbers for `catalogue/price`. Received: 'dear'"),
        ([("b:1", CatalogueRow(image_vector=[0.0, float("nan")]))], "finite.*image_vector`.*nan"),
        ([("b:1", CatalogueRow(title="\ud800"))], "strings of UTF-8"),
        (["b:\ud800"], "strings of UTF-8"),
        (None, "NoneType"),
    ],
)
def test_candidates_that_cannot_be_sent(ask, candidates, cause):
    with pytest.raises(ArgumentError, match=cause) as caught:
        ask("127.0.0.1:1", lambda c: c.rank(USER, candidates))
    assert "`rank` of model `m`" in str(caught.value)


@either_client
@pytest.mark.parametrize(
    ("history", "cause"),
    [
        ([Event("a:1", "rate", 1, "good")], "numbers for `value`. Received: 'good'"),
        ([Event("a:1", "rate", 1, 1e39)], "finite numbers of 32 bits for `value`"),
        ([Event("a:1", "rate", 2), Event("a:1", "rate", 1)], "row 0 goes back in time"),
    ],
)
def test_histories_that_cannot_be_sent(ask, history, cause):
    with pytest.raises(ArgumentError, match=cause):
        ask("127.0.0.1:1", lambda c: c.rank(history, ["b:1"]))
    with pytest.raises(ArgumentError, match="Expected `RankRequest`s"):
        ask("127.0.0.1:1", lambda c: c.rank_batch([history]))


@either_client
@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (answer(buy=[[1.0, 1.0]]), r"output `scores` of numbers \[1, 2 or more\], received none"),
        (answer(scores=[[1.0]]), r"received float32 \[1, 1\]"),
        (answer(scores=[[1.0, 1.0]] * 2), r"received float32 \[2, 2\]"),
        (answer(scores=[[1.0, np.inf]]), "NaN or inf in `scores`"),
        (answer(scores=[[1.0, 1.0, np.nan]], buy=[[np.nan, 1.0]]), "NaN or inf in `buy`"),
    ],
)
def test_an_answer_that_cannot_be_used(ask, given, cause):
    with Scripted(reply=lambda *_: given) as server:
        with pytest.raises(InvalidAnswerError, match=cause):
            ask(server.address, lambda c: c.rank(USER, ["b:1", "b:2"]))


@either_client
def test_deadlines_and_sizes_are_those_of_every_call(ask):
    slow = (grpc.StatusCode.UNAVAILABLE, "loading")
    with Scripted(*[slow] * 100) as server:
        with pytest.raises(DeadlineError):
            ask(server.address, lambda c: c.rank(USER, ["b:1"], timeout=1e-9))
    with pytest.raises(TooLargeError, match="bytes of 1,024 allowed"):
        many = [f"b:{n}" for n in range(1000)]
        ask("127.0.0.1:1", lambda c: c.rank(USER, many), max_message_bytes=1024)
