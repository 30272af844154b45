"""The status of a label's version, as TF Serving tells it: its status calls read no label."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from serving.client import NotFoundError
from serving.client import RecommenderClient
from serving.client import UnavailableError
from serving.client import protos
from serving.client import wait_until_ready
from tests.serving.client.scripted import FAST
from tests.serving.client.scripted import Scripted
from tests.serving.client.scripted import ask_async
from tests.serving.client.scripted import ask_sync

LOADING, AVAILABLE = 20, 30
NOT_FOUND = grpc.StatusCode.NOT_FOUND


class TfServing:
    """Versions 1 and 2 of a model; `stable` is 1, `canary` is 2."""

    def __init__(self) -> None:
        self.states = {1: AVAILABLE, 2: LOADING}
        self.labels = {"stable": 1, "canary": 2}

    def __call__(self, method: str, request: Any) -> Any:
        spec = request.model_spec
        number = spec.version.value if spec.HasField("version") else None
        if method == "GetModelStatus":
            response = protos.GetModelStatusResponse()
            for version, state in self.states.items():
                if number in (None, version):
                    response.model_version_status.add(version=version, state=state)
            return response
        if spec.version_label:
            if spec.version_label not in self.labels:
                words = f"Unrecognized servable version label: {spec.version_label}"
                return grpc.StatusCode.INVALID_ARGUMENT, words
            number = self.labels[spec.version_label]
        if self.states.get(number) != AVAILABLE:
            return NOT_FOUND, f"Servable not found for request: Specific(m, {number})"
        response = protos.GetModelMetadataResponse()
        response.model_spec.name, response.model_spec.version.value = "m", number
        response.metadata["signature_def"].value = protos.SignatureDefMap().SerializeToString()
        return response


@pytest.fixture
def serving():
    reply = TfServing()
    with Scripted(reply=reply) as server:
        reply.address = server.address
        yield reply


@pytest.mark.parametrize("ask", [ask_sync, ask_async])
def test_the_status_with_a_label_is_that_of_its_version_alone(serving, ask):
    def status(**settings: Any) -> dict[int, str]:
        found = ask(serving.address, lambda client: client.model_status(), **settings)
        return {one.version: one.state for one in found}

    assert status() == {2: "LOADING", 1: "AVAILABLE"}
    assert status(version=2) == {2: "LOADING"}
    assert status(label="stable") == {1: "AVAILABLE"}
    for label in ("canary", "nobody"):
        with pytest.raises(NotFoundError, match=f"label `{label}`"):
            status(label=label)


def test_a_label_is_ready_when_its_own_version_is(serving):
    def client(label: str) -> RecommenderClient:
        return RecommenderClient(serving.address, "m", label=label, retry=FAST)

    with client("stable") as stable, client("canary") as canary:
        wait_until_ready(stable, 60, pytest.fail)
        with pytest.raises(UnavailableError, match=r"`canary` is not served yet .*m, 2\)\) after"):
            wait_until_ready(canary, 0.3)

        def load(line: str) -> None:
            assert "label `canary` is not served yet" in line
            serving.states[2] = AVAILABLE

        wait_until_ready(canary, 60, load)
        assert [one.version for one in canary.model_status()] == [2]


def test_a_label_that_comes_later_is_waited_for(serving):
    with RecommenderClient(serving.address, "m", label="next", retry=FAST) as client:
        wait_until_ready(client, 60, lambda line: serving.labels.update(next=1))
