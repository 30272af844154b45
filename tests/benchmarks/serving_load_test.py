from __future__ import annotations

import asyncio
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.serving_load import Outcome
from benchmarks.serving_load import drive
from benchmarks.serving_load import make_rank_requests
from benchmarks.serving_load import make_requests
from benchmarks.serving_load import note_difference
from serving.client import UnavailableError
from serving.client.errors import Target


def test_summary_by_hand():
    outcome = Outcome(latencies=[0.001 * n for n in range(1, 101)], errors=2, versions={1, 2})
    values = outcome.summary(seconds=10.0)
    assert values["p50_ms"] == pytest.approx(50.5)
    assert values["p99_ms"] == pytest.approx(99.01)
    assert values["queries_per_second"] == 10.0
    assert (values["errors"], values["versions"], values["mixed"]) == (2, 2, 0)


def test_no_answer_at_all_is_no_row():
    with pytest.raises(ValueError, match="3 errors"):
        Outcome(errors=3).summary(1.0)


def test_every_request_is_asked_once_and_failures_are_counted():
    asked: list[int] = []
    at_once, most = 0, 0

    async def ask(number: int) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        asked.append(number)
        if number % 10 == 0:
            raise UnavailableError(Target("a", "m"), "UNAVAILABLE", "down")

    outcome = Outcome()
    asyncio.run(drive(ask, 4, 50, outcome))
    assert sorted(asked) == list(range(50))
    assert most == 4
    assert (len(outcome.latencies), outcome.errors) == (45, 5)


def test_requests_are_the_same_for_a_seed():
    ids = [f"item:{n}" for n in range(9)]
    assert make_requests(ids, 5, seed=1) == make_requests(ids, 5, seed=1)
    assert {len(r.history) for r in make_requests(ids, 5, seed=1)} == set(range(1, 10))


def test_ranking_requests_have_the_lengths_that_were_asked_for():
    ids = [f"item:{n}" for n in range(9)]
    exact = make_rank_requests(ids, 5, 3, False, seed=1)
    assert {(len(r.history), len(r.candidates)) for r in exact} == {(5, 3)}
    varied = make_rank_requests(ids, 5, 3, True, seed=1)
    assert {len(r.history) for r in varied} == {1, 2, 3, 4, 5}
    assert {len(r.candidates) for r in varied} == {1, 2, 3}
    assert varied == make_rank_requests(ids, 5, 3, True, seed=1)


def test_scores_are_compared_without_those_of_padding():
    outcome = Outcome()
    alone = np.array([0.5, 0.25], np.float32)
    note_difference(np.array([0.5, 0.25, 9.0], np.float32), alone, outcome)
    assert outcome.difference == 0.0
    note_difference(np.array([0.5, 0.125], np.float32), alone, outcome)
    note_difference(alone, alone, outcome)
    assert outcome.difference == 0.125


def test_other_machines_are_not_loaded_by_accident():
    command = [sys.executable, "-m", "benchmarks.serving_load", "shop.example:8500", "m"]
    done = subprocess.run(command, input="item:1", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--allow-remote" in done.stderr
