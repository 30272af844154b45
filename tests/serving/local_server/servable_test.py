"""The servable of the pipeline, on the local server, asked by the client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.client import Event
from serving.client import InvalidRequestError
from serving.client import RecommenderClient
from serving.client import Request
from serving.client.calls import recommend_inputs
from serving.local_server.config import BatchingConfig
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig

K = 10
IDS = [f"movie:{i}" for i in range(1, 51)]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The servable loaded directly, and a client of a server of it with one runner."""
    import tensorflow as tf

    from serving.index.config import ServeConfig
    from serving.local_server.server import LocalServer
    from tests.helpers.servables import write_tiny_servable

    scratch = tmp_path_factory.mktemp("servable")
    path = write_tiny_servable(scratch, IDS, ServeConfig(k=K, exclude_seen=("watch",)))
    (scratch / "base").mkdir()
    path = path.rename(scratch / "base" / "1")
    config = ServerConfig(
        models=(ModelConfig(base_path=scratch / "base"),),
        port=0,
        rest_port=None,
        batching=BatchingConfig(runners=1),
    )
    with LocalServer(config) as server, RecommenderClient(server.address, timeout=60) as client:
        yield tf.saved_model.load(str(path)), client


def requests(count: int) -> list[Request]:
    """Histories of many lengths, from none to sixty, some with more inputs."""
    random = np.random.default_rng(5)
    found = []
    for number in range(count):
        length = int(random.integers(0, 61))
        movies = random.integers(1, 61, size=length)
        history = [Event(f"movie:{m}", "watch", i + 1) for i, m in enumerate(movies)]
        excluded = [f"movie:{m}" for m in random.integers(1, 51, size=number % 4)]
        found.append(Request(history, excluded, "" if number % 2 else "red", ("a=b",), 100))
    return found


def directly(model, request: Request) -> list[tuple[str, float]]:
    import tensorflow as tf

    inputs = {n: tf.constant(v.tolist()) for n, v in recommend_inputs([request]).items()}
    spec = model.signatures["recommend"].structured_input_signature[1]
    inputs = {name: tf.cast(value, spec[name].dtype) for name, value in inputs.items()}
    answer = model.signatures["recommend"](**inputs)
    rows = zip(answer["ids"].numpy()[0], answer["scores"].numpy()[0], strict=True)
    return [(name.decode(), float(score)) for name, score in rows if name]


def test_merged_requests_get_the_answers_of_requests_alone(served):
    model, client = served
    asked = requests(60)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda r: client.recommend_batch([r], K)[0], asked))
    for request, answer in zip(asked, answers, strict=True):
        expected = directly(model, request)
        assert list(answer.ids) == [name for name, _ in expected]
        np.testing.assert_allclose(answer.scores, [score for _, score in expected], atol=1e-5)


def test_a_batch_gets_the_same_answers(served):
    _, client = served
    asked = requests(30)
    batch = client.recommend_batch(asked, K)
    assert [b.ids for b in batch] == [client.recommend_batch([r], K)[0].ids for r in asked]


def test_nothing_seen_or_excluded_comes_back(served):
    _, client = served
    asked = requests(40)
    for request, answer in zip(asked, client.recommend_batch(asked, K), strict=True):
        seen = {event.id for event in request.history} | set(request.exclude_ids)
        assert not seen & set(answer.ids)
        assert len(answer) == min(K, len(set(IDS) - seen))


def test_serialised_timelines(served):
    from tests.helpers.examples import timeline

    _, client = served
    examples = [timeline("u", IDS[:3], request_time=100), timeline("v", [], request_time=100)]
    known, new = client.recommend_examples(examples, k=4)
    assert len(known) == len(new) == 4
    history = [Event(name, "watch", i + 1) for i, name in enumerate(IDS[:3])]
    assert known.ids == client.recommend(history, 4, request_time=100).ids


def test_a_malformed_timeline(served):
    _, client = served
    with pytest.raises(InvalidRequestError, match="`serving_default`.*Could not parse"):
        client.recommend_examples([b"\xffnot a timeline"])
    assert client.recommend_examples([]) == []


def test_embeddings(served):
    _, client = served
    inputs = recommend_inputs(requests(3))
    dense = {n: v for n, v in inputs.items() if not n.startswith("exclude")}
    assert client.predict("embed_query", dense)["embedding"].shape == (3, 16)
