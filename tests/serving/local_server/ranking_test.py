"""A real ranker behind the local server: what is merged is answered as what is asked alone."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from serving.cascade import Cascade
from serving.client import AsyncRecommenderClient
from serving.client import Candidate
from serving.client import CatalogueRow
from serving.client import Event
from serving.client import HistoryCodes
from serving.client import InvalidRequestError
from serving.client import RankRequest
from serving.client import RecommenderClient
from serving.client.calls import predict_request
from serving.client.errors import Target
from serving.client.ranking import rank_inputs
from serving.client.tensors import data_type
from serving.index.config import ServeConfig
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig
from tests.helpers.rankers import ITEMS
from tests.helpers.rankers import SMALL_DIN
from tests.helpers.rankers import export_ranker
from tests.helpers.rankers import small_data
from tests.helpers.servables import write_tiny_servable
from tests.serving.local_server.limits_test import repeated
from tests.serving.local_server.tiny import write_warmup
from transforms.history_codes import HistoryLayout

DAY = 86_400_000_000
LONG = CatalogueRow("A green thing " * 30, ["group 1"], ["brand=2"], 2.0, [1.0, 0.0])
SHORT = CatalogueRow("A red thing")


def request(events: int, candidates: int, first: int = 0, row: Any = None) -> RankRequest:
    """A request whose history and candidates are so long; its first candidate may have a row."""
    names = [f"item:{(first + n) % (ITEMS + 1)}" for n in range(candidates)]  # one is unknown
    history = [
        Event(f"item:{(first * 5 + n * 7) % ITEMS}", ("watch", "buy")[n % 2], n * DAY, n % 6)
        for n in range(events)
    ]
    chosen = [Candidate(names[0], row), *names[1:]] if row and names else names
    return RankRequest(history, chosen, "", (f"group={first % 4}",), 99 * DAY)


REQUESTS = [
    request(n % 9, n * 5 % 14, n, (None, SHORT, None, LONG)[n % 4]) for n in range(40)
]  # no history, no candidate, histories beyond the window, rows


@pytest.fixture(scope="module")
def ranker_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with version 1 of a small ranker, as the Trainer exports it."""
    base = tmp_path_factory.mktemp("ranker")
    data = small_data(tmp_path_factory.mktemp("log"))
    export_ranker(data, base / "1", SMALL_DIN | {"history_codes": True})
    return base


@pytest.fixture(scope="module")
def server(ranker_base: Path) -> Iterator[Any]:
    from serving.local_server.server import LocalServer

    models = (ModelConfig(name="ranker", base_path=ranker_base),)
    settings = {"port": 0, "rest_port": 0, "batching": {"runners": 1, "max_batch_size": 16}}
    with LocalServer(ServerConfig(models=models, **settings)) as running:
        yield running


@pytest.fixture(scope="module")
def alone(server: Any) -> list[dict[str, float]]:
    """Scores by candidate of each request, asked one after the other."""
    with RecommenderClient(server.address, "ranker", timeout=60) as client:
        return [scores_of(client.rank_batch([one])[0]) for one in REQUESTS]


def scores_of(ranking: Any) -> dict[str, float]:
    return dict(zip(ranking.ids, ranking.scores.tolist(), strict=True))


def assert_same(found: list[Any], expected: list[dict[str, float]]) -> None:
    for ranking, scores in zip(found, expected, strict=True):
        assert scores_of(ranking) == pytest.approx(scores, abs=1e-6)
        assert ranking.ids == tuple(sorted(ranking.ids, key=scores_of(ranking).get, reverse=True))


def test_scores_are_probabilities_that_depend_on_user_and_candidate(alone):
    assert [len(scores) for scores in alone] == [n * 5 % 14 for n in range(40)]
    values = [score for scores in alone for score in scores.values()]
    assert all(0.0 < value < 1.0 for value in values)
    assert len(set(values)) > len(values) / 2


def test_requests_that_are_merged_are_answered_as_alone(server, alone):
    async def main() -> list[Any]:
        async with AsyncRecommenderClient(server.address, "ranker", timeout=60) as client:
            return await asyncio.gather(*(client.rank_batch([one]) for one in REQUESTS))

    before = runs(server)
    found = [ranking for (ranking,) in asyncio.run(main())]
    assert_same(found, alone)
    assert runs(server) - before < len(REQUESTS)  # a request with a long row first runs alone


def test_histories_as_codes_are_answered_as_ids_and_other_codes_give_way(
    server, alone, ranker_base, caplog
):
    def ask(codes: HistoryCodes) -> list[Any]:
        async def main() -> list[Any]:
            settings = {"timeout": 60, "history_codes": codes}
            async with AsyncRecommenderClient(server.address, "ranker", **settings) as client:
                return await asyncio.gather(*(client.rank_batch([one]) for one in REQUESTS))

        return [ranking for (ranking,) in asyncio.run(main())]

    codes = HistoryCodes.read(ranker_base / "1")
    assert_same(ask(codes), alone)
    assert "Histories go as ids" not in caplog.text
    stale = HistoryCodes(HistoryLayout(2, 2, 5), b"item:1\n", b"watch\n")
    assert_same(ask(stale), alone)
    assert f"version `{codes.version}`" in caplog.text


def runs(server: Any) -> int:
    return int(server.metrics.runs.lines()[-1].split()[-1])


def test_a_batch_of_many_users_in_parts_beside_wider_requests(server, alone):
    wide = request(3, 300)

    async def main() -> list[Any]:
        async with AsyncRecommenderClient(server.address, "ranker", timeout=60) as client:
            batches = [client.rank_batch(REQUESTS) for _ in range(2)]
            return await asyncio.gather(*batches, *(client.rank_batch([wide]) for _ in range(8)))

    first, second, *others = asyncio.run(main())
    assert_same(first, alone)
    assert_same(second, alone)
    assert {len(other[0]) for other in others} == {300}
    (version,) = server.registry.find("ranker").available()
    assert version.lanes["rank"].mergeable


@pytest.mark.parametrize("signature", ["rank", "rank_codes"])
def test_rest_gives_the_same_scores(server, alone, ranker_base, signature):
    given = rank_inputs(REQUESTS[:12])
    if signature == "rank_codes":
        given = HistoryCodes.read(ranker_base / "1").encode(given)
    inputs = {
        name: [[_plain(value) for value in row] if array.ndim > 1 else _plain(row) for row in array]
        for name, array in given.items()
    }
    body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/ranker:predict"
    with urllib.request.urlopen(url, data=body, timeout=60) as answer:
        outputs = json.loads(answer.read())["outputs"]
    for row, one, scores in zip(outputs, REQUESTS, alone, strict=False):
        names = [c if isinstance(c, str) else c.id for c in one.candidates]
        assert dict(zip(names, row, strict=False)) == pytest.approx(scores, abs=1e-6)
        assert not any(row[len(names) :])


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value.item()


def test_a_sent_row_stands_in_for_the_catalogue(server):
    with RecommenderClient(server.address, "ranker", timeout=60) as client:
        one = request(4, 3)
        new = client.rank(one.history, ["item:new", Candidate("item:0", LONG), "item:1"])
        bare = client.rank(one.history, [Candidate("item:new", LONG), "item:0", "item:1"])
    changed = {name for name in new.ids if scores_of(new)[name] != scores_of(bare)[name]}
    assert changed == {"item:new", "item:0"}


def test_what_a_few_bytes_stand_for_is_bounded_before_it_is_unfolded(server):
    shapes = {
        name: (data_type(array), [1, 1][: array.ndim])
        for name, array in rank_inputs([request(1, 1)]).items()
    }
    wide = {name: (7, [1, 4_000_000]) for name in ("candidate_ids", "candidate_rows")}
    message = repeated("rank", shapes | wide, model="ranker")
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError, match="134,217,728 bytes of memory.*`rank`") as caught:
            call(message, timeout=60)
    assert len(message) < 1000
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_row_that_is_none_is_refused_and_harms_nobody_else(server, alone):
    async def main() -> list[Any]:
        async with AsyncRecommenderClient(server.address, "ranker", timeout=60) as client:
            bad = client.rank([], [Candidate("item:1", b"\xff no example")])
            good = (client.rank_batch([one]) for one in REQUESTS[:8])
            return await asyncio.gather(bad, *good, return_exceptions=True)

    refused, *good = asyncio.run(main())
    assert isinstance(refused, InvalidRequestError) and "arse" in refused.details
    assert_same([ranking for (ranking,) in good], alone[:8])


def test_warm_up_requests_of_rank_are_answered_before_the_version_is_served(
    ranker_base, tmp_path, serve
):
    good, bad = tmp_path / "base" / "1", tmp_path / "base" / "2"
    for path in (good, bad):
        shutil.copytree(ranker_base / "1", path)
    asked = rank_inputs([request(3, 4), request(0, 2)])
    spec = Target("", "tiny", signature="rank")
    write_warmup(good, [predict_request(spec, asked)])
    write_warmup(bad, [predict_request(spec, asked | {"candidate_length": [[1], [1]]})])
    server = serve(tmp_path / "base", {"newest": 2})
    assert [version.number for version in server.registry.find("tiny").available()] == [1]
    text = server.metrics.text()
    assert f'{{model_path="{good}"}} 1' in text
    with RecommenderClient(server.address, "tiny", timeout=60) as client:
        states = {status.version: status for status in client.model_status()}
        assert len(client.rank([], ["item:1", "item:2"])) == 2
    assert "Warm-up record 0" in states[2].error_message
    assert "`candidate_length`" in states[2].error_message


def test_a_cascade_of_exported_towers_and_an_exported_ranker(ranker_base, server, tmp_path, serve):
    items = [f"item:{number}" for number in range(ITEMS)]
    servable = write_tiny_servable(tmp_path, items, ServeConfig(k=8))
    (tmp_path / "pushed").mkdir()
    servable.rename(tmp_path / "pushed" / "1")
    towers = serve(tmp_path / "pushed")
    history = [Event("item:3", "watch", 5), Event("item:7", "buy", 6)]
    with (
        RecommenderClient(towers.address, "tiny", timeout=60) as retriever,
        RecommenderClient(server.address, "ranker", timeout=60) as ranker,
    ):
        answer = Cascade(retriever, ranker).recommend(history, k=5, request_time=9)
        fetched = retriever.recommend(history, 100, request_time=9)
        alone = ranker.rank(history, fetched.ids, request_time=9)
    assert answer.retrieval.ids == fetched.ids and len(fetched) == 8
    assert answer.ids == alone.ids[:5] and not answer.is_fallback
    scores = dict(zip(fetched.ids, fetched.scores.tolist(), strict=True))
    assert [item.retrieval_score for item in answer.items] == [scores[name] for name in answer.ids]
    assert [item.ranking_score for item in answer.items] == pytest.approx(alone.scores[:5].tolist())
