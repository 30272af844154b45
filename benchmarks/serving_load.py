"""Load on a server: so many clients, each asking again as soon as it is answered.

    python -m benchmarks.serving_load 127.0.0.1:8500 recommender --clients 8 --requests 2000
    python -m benchmarks.serving_load 127.0.0.1:8500 shop-ranking --candidates 100 --history 50

Prints one JSON object. Runs without TensorFlow and in a process of its own, so
that it shares no lock with the server. Requests are made beforehand; what is
timed is the call alone, or with `--library` the whole client library. Rankers are asked
with histories and candidates of the given lengths; with `--varied` of any lengths up to these,
and each answer is compared with the one that the same request got alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from serving.client import AsyncRecommenderClient
from serving.client import Event
from serving.client import RankRequest
from serving.client import Request
from serving.client import RetryPolicy
from serving.client import ServingError
from serving.client import protos
from serving.client.calls import parse_prediction
from serving.client.calls import predict_request
from serving.client.calls import recommend_inputs
from serving.client.errors import Target
from serving.client.ranking import rank_inputs
from serving.local_server.config import is_loopback

_DISTINCT = 256  # different requests, asked in turn
_RANKED = 32  # the same, of a ranker
_TIMEOUT = 30.0  # seconds
_WARM_UP = 200  # requests that are not counted
Array = npt.NDArray[Any]


@dataclass
class Outcome:
    """Latencies and errors that the clients saw.

    Attributes:
        latencies: seconds of every answered request.
        errors: requests that were not answered.
        versions: versions that answered.
        mixed: answers whose ids are another version's.
        difference: the largest one of a score from that of the same request alone.
    """

    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    versions: set[int] = field(default_factory=set)
    mixed: int = 0
    difference: float = 0.0

    def summary(self, seconds: float) -> dict[str, float]:
        """Returns the values of a row."""
        if not self.latencies:
            raise ValueError(f"Expected answers. Received: {self.errors} errors and nothing else.")
        p50, p99 = np.percentile(self.latencies, [50, 99]) * 1e3
        return {
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "queries_per_second": len(self.latencies) / seconds,
            "errors": float(self.errors),
            "versions": float(len(self.versions)),
            "mixed": float(self.mixed),
            "largest_difference": self.difference,
        }


def make_requests(entities: list[str], history: int, seed: int) -> list[Request]:
    """Returns requests with histories of one event up to twice `history`."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(_DISTINCT):
        ids = random.choice(entities, size=random.integers(1, 2 * history))
        made.append(Request([Event(str(name), "view", i) for i, name in enumerate(ids)]))
    return made


def make_rank_requests(
    entities: list[str], history: int, candidates: int, varied: bool, seed: int
) -> list[RankRequest]:
    """Returns ranking requests of these lengths, or `varied` of any from one up to them."""
    random = np.random.default_rng(seed)

    def names(length: int) -> list[str]:
        size = random.integers(1, length + 1) if varied else length
        return [str(name) for name in random.choice(entities, size)]

    return [
        RankRequest([Event(name, "click", i) for i, name in enumerate(names(history))], names(n))
        for n in [candidates] * _RANKED
    ]


async def drive(
    ask: Callable[[int], Awaitable[None]], clients: int, requests: int, outcome: Outcome
) -> float:
    """Asks `requests` times with `clients` at once; returns the seconds it took."""
    started = 0

    async def client() -> None:
        nonlocal started
        while started < requests:
            number, started = started, started + 1
            if number % 1000 == 0:
                sys.stderr.write(f"progress {number}\n")
            begin = time.perf_counter()
            try:
                await ask(number)
            except (grpc.RpcError, ServingError) as error:
                outcome.errors += 1
                sys.stderr.write(f"error {error}\n")
            else:
                outcome.latencies.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - begin


async def load(options: argparse.Namespace, entities: list[str]) -> dict[str, float]:
    """Warms up, runs the load and returns the values of a row."""
    outcome = Outcome()
    target = Target(options.address, options.model)
    if options.library:
        requests = make_requests(entities, options.history, options.seed)
        retry = RetryPolicy(attempts=1)
        async with AsyncRecommenderClient(
            options.address, options.model, timeout=_TIMEOUT, retry=retry
        ) as library:

            async def ask(number: int) -> None:
                request = requests[number % _DISTINCT]
                await library.recommend(request.history, 10)

            await drive(ask, options.clients, min(_WARM_UP, options.requests), Outcome())
            return outcome.summary(await drive(ask, options.clients, options.requests, outcome))

    messages = make_messages(options, entities)
    alone: list[Array] = []
    async with grpc.aio.insecure_channel(options.address) as channel:
        call = channel.unary_unary(f"/{protos.PREDICTION_SERVICE}/Predict")

        async def ask_raw(number: int) -> None:
            answer = await call(messages[number % len(messages)], timeout=_TIMEOUT)
            if options.versioned:
                _note_version(answer, target, outcome)
            if alone:
                note_difference(_scores(answer, target), alone[number % len(alone)], outcome)

        await drive(ask_raw, options.clients, min(_WARM_UP, options.requests), Outcome())
        if options.varied:
            alone += [_scores(await call(m, timeout=_TIMEOUT), target) for m in messages]
        return outcome.summary(await drive(ask_raw, options.clients, options.requests, outcome))


def make_messages(options: argparse.Namespace, entities: list[str]) -> list[bytes]:
    """Returns the serialised requests, one user each."""
    inputs: Sequence[Mapping[str, Array]]
    if options.candidates:
        sizes = (options.history, options.candidates, options.varied)
        ranked = make_rank_requests(entities, *sizes, options.seed)
        inputs, signature = [rank_inputs([r]) for r in ranked], "rank"
    else:
        requests = make_requests(entities, options.history, options.seed)
        inputs, signature = [recommend_inputs([r]) for r in requests], "recommend"
    target = Target(options.address, options.model, signature=signature)
    return [predict_request(target, given).SerializeToString() for given in inputs]


def _scores(answer: bytes, target: Target) -> Array:
    """Returns the scores of a request's only user, [W]."""
    return parse_prediction(protos.PredictResponse.FromString(answer), target)["scores"][0]


def note_difference(scores: Array, alone: Array, outcome: Outcome) -> None:
    """Compares with the scores [C] of the request alone; more are those of padding."""
    difference = float(np.abs(scores[: len(alone)] - alone).max())
    outcome.difference = max(outcome.difference, difference)


def _note_version(answer: bytes, target: Target, outcome: Outcome) -> None:
    """Checks that every id begins with the version that the answer names."""
    prediction = parse_prediction(protos.PredictResponse.FromString(answer), target)
    outcome.versions.add(prediction.version)
    head = f"v{prediction.version}:".encode()
    outcome.mixed += any(not name.startswith(head) for name in prediction["ids"].ravel() if name)


def main() -> None:
    """Parses the command line and prints the values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("model")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--history", type=int, default=50, help="mean length of a history")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--candidates", type=int, default=0, help="of a ranker; 0 recommends")
    parser.add_argument("--varied", action="store_true", help="lengths up to those; see above")
    parser.add_argument("--library", action="store_true", help="ask through the client library")
    parser.add_argument("--versioned", action="store_true", help="ids begin with `v<version>:`")
    parser.add_argument(
        "--allow-remote", action="store_true", help="also load other machines; ask their owner"
    )
    options = parser.parse_args()
    host = options.address.rpartition(":")[0]
    if not (is_loopback(host) or options.allow_remote):
        parser.error(
            f"{options.address} is not this machine. Loading somebody's server needs their "
            "consent: say --allow-remote if you have it."
        )
    entities = [line.strip() for line in sys.stdin if line.strip()]
    print(json.dumps(asyncio.run(load(options, entities))))


if __name__ == "__main__":
    main()
