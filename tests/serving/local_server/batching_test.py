"""The scheduler with plain functions in place of models."""

from __future__ import annotations

import asyncio
import threading

import grpc
import numpy as np
import pytest

from serving.local_server.batching import BatchScheduler
from serving.local_server.batching import Lane
from serving.local_server.config import BatchingConfig
from serving.local_server.errors import RequestError
from serving.local_server.errors import invalid
from serving.local_server.metrics import ServerMetrics


class Model:
    """Doubles rows; notes its batches; waits for `gate`; dislikes negative numbers."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def run(self, arrays, timeout):
        self.gate.wait()
        self.batches.append(arrays["x"][:, 0].tolist())
        if (arrays["x"] < 0).any():
            raise invalid("negative")
        return {"y": arrays["x"] * 2}


def rows(*values):
    return {"x": np.array([[v] for v in values])}


def in_loop(test, **options):
    """Runs a test with a scheduler of one runner, and closes the scheduler."""

    async def main():
        scheduler = BatchScheduler(BatchingConfig(**options), 1, ServerMetrics())
        model = Model()
        try:
            return await test(scheduler, model, Lane("s", model.run, mergeable=True))
        finally:
            model.gate.set()
            await scheduler.close()

    return asyncio.run(main())


def submit(scheduler, lane, *values, deadline=None):
    return asyncio.ensure_future(scheduler.submit(lane, rows(*values), len(values), deadline))


def test_an_idle_scheduler_waits_for_nobody_not_even_with_a_timeout():
    async def test(scheduler, model, lane):
        return await asyncio.wait_for(submit(scheduler, lane, 3), 30)

    assert in_loop(test, timeout_micros=10**9)["y"].tolist() == [[6]]


def test_requests_that_come_during_a_run_are_merged():
    async def test(scheduler, model, lane):
        model.gate.clear()
        tasks = [submit(scheduler, lane, value) for value in range(6)]
        await asyncio.sleep(0)
        model.gate.set()
        answers = await asyncio.gather(*tasks)
        assert [a["y"].tolist() for a in answers] == [[[2 * v]] for v in range(6)]
        return model.batches

    assert in_loop(test) == [[0], [1, 2, 3, 4, 5]]


def test_batches_are_bounded_and_larger_requests_run_in_parts():
    async def test(scheduler, model, lane):
        model.gate.clear()
        tasks = [submit(scheduler, lane, 0)]
        tasks += [submit(scheduler, lane, v) for v in (1, 2, 3)]
        tasks += [submit(scheduler, lane, 4, 5, 6, 7, 8), submit(scheduler, lane, 9)]
        await asyncio.sleep(0)
        model.gate.set()
        answers = await asyncio.gather(*tasks)
        assert answers[4]["y"].tolist() == [[8], [10], [12], [14], [16]]
        return model.batches

    # 9 came after the large request, and waits for its first part alone
    assert in_loop(test, max_batch_size=2) == [[0], [1, 2], [3], [4, 5], [9], [6, 7], [8]]


def test_the_parts_that_are_still_to_come_count_as_waiting():
    async def test(scheduler, model, lane):
        model.gate.clear()
        large = submit(scheduler, lane, 1, 2, 3, 4, 5, 6)
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="4 rows wait"):
            await submit(scheduler, lane, 7)
        model.gate.set()
        await large
        return (await submit(scheduler, lane, 7))["y"].tolist()

    assert in_loop(test, max_batch_size=2, max_queued_rows=4) == [[14]]


def test_nothing_is_left_waiting_of_a_large_request_that_fails_or_is_given_up():
    async def test(scheduler, model, lane):
        with pytest.raises(RequestError, match="negative"):
            await submit(scheduler, lane, *[-1] * 6)
        model.gate.clear()
        gone = submit(scheduler, lane, *range(6))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        model.gate.set()
        assert (await submit(scheduler, lane, *range(4)))["y"].tolist() == [[0], [2], [4], [6]]
        assert scheduler._queued_rows == 0

    in_loop(test, max_batch_size=2, max_queued_rows=4)


def test_after_a_part_that_fails_the_others_are_left_out():
    async def test(scheduler, model, lane):
        with pytest.raises(RequestError, match="negative"):
            await submit(scheduler, lane, 0, -1, *range(2, 20))
        assert (await submit(scheduler, lane, 50))["y"].tolist() == [[100]]
        return model.batches

    batches = in_loop(test, max_batch_size=1)
    assert batches[:2] == [[0], [-1]]
    assert batches[-1] == [50] and len(batches) < 6  # one may have begun meanwhile


def test_parts_past_the_deadline_are_not_run():
    async def test(scheduler, model, lane):
        loop = asyncio.get_running_loop()
        model.gate.clear()
        late = submit(scheduler, lane, 1, 2, 3, 4, deadline=loop.time() + 0.05)
        await asyncio.sleep(0.1)
        model.gate.set()
        with pytest.raises(RequestError) as caught:
            await late
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert (await submit(scheduler, lane, 5))["y"].tolist() == [[10]]
        return model.batches

    assert in_loop(test, max_batch_size=1) == [[1], [5]]


def test_parts_of_who_hangs_up_are_not_run():
    async def test(scheduler, model, lane):
        model.gate.clear()
        gone = submit(scheduler, lane, 1, 2, 3, 4)
        await asyncio.sleep(0.01)
        gone.cancel()
        stays = submit(scheduler, lane, 5)
        await asyncio.sleep(0.01)
        model.gate.set()
        await stays
        return model.batches

    assert in_loop(test, max_batch_size=1) == [[1], [5]]


def test_who_leaves_while_a_batch_fails_is_not_run_again():
    async def test(scheduler, model, lane):
        begun, go = threading.Event(), threading.Event()

        def run(arrays, timeout):
            if len(arrays["x"]) > 1:
                begun.set()
                go.wait()
            return model.run(arrays, timeout)

        lane.run = run
        now = asyncio.get_running_loop().time()
        model.gate.clear()
        first = submit(scheduler, lane, 0)
        bad, gone = submit(scheduler, lane, -1), submit(scheduler, lane, 2)
        late = submit(scheduler, lane, 3, deadline=now + 0.2)
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.to_thread(begun.wait)
        gone.cancel()
        await asyncio.sleep(0.3)
        go.set()
        await asyncio.gather(first, bad, gone, late, return_exceptions=True)
        assert late.exception().code is grpc.StatusCode.DEADLINE_EXCEEDED
        return model.batches

    assert in_loop(test) == [[0], [-1, 2, 3], [-1]]


def test_lanes_whose_parts_cannot_be_put_together_run_whole():
    async def test(scheduler, model, lane):
        lane.run = lambda arrays, timeout: (model.run(arrays, timeout), {"y": np.zeros(7)})[1]
        answer = await submit(scheduler, lane, 0, 1, 2)
        assert answer["y"].shape == (7,)
        await submit(scheduler, lane, 3, 4, 5)
        return model.batches

    assert in_loop(test, max_batch_size=2) == [[0, 1], [2], [0, 1, 2], [3, 4, 5]]


def test_a_part_that_another_request_widened_is_put_together_with_the_others():
    async def test(scheduler, model, lane):
        scheduler._runners = 2
        model.gate.clear()
        busy = [submit(scheduler, lane, 0), submit(scheduler, lane, 9)]
        large = submit(scheduler, lane, 1, 2, 3)
        wide = asyncio.ensure_future(scheduler.submit(lane, {"x": np.array([[4, 5]])}, 1, None))
        await asyncio.sleep(0)
        model.gate.set()
        answer, *_ = await asyncio.gather(large, wide, *busy)
        assert answer["y"].tolist() == [[2, 0], [4, 0], [6, 6]]  # the own ones come first
        assert lane.mergeable
        return model.batches

    assert in_loop(test, max_batch_size=2)[2:] == [[1, 2], [3, 4]]


def test_one_bad_request_fails_alone():
    async def test(scheduler, model, lane):
        model.gate.clear()
        tasks = [submit(scheduler, lane, value) for value in (0, 1, -2, 3)]
        await asyncio.sleep(0)
        model.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    zero, one, bad, three = in_loop(test)
    assert (zero["y"][0, 0], one["y"][0, 0], three["y"][0, 0]) == (0, 2, 6)
    assert isinstance(bad, RequestError)
    assert bad.message == "negative"


def test_lanes_that_cannot_be_cut_by_rows_are_merged_no_more():
    async def test(scheduler, model, lane):
        lane.run = lambda arrays, timeout: (model.run(arrays, timeout), {"y": np.zeros(7)})[1]
        model.gate.clear()
        tasks = [submit(scheduler, lane, value) for value in range(3)]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(*tasks)
        assert not lane.mergeable
        return model.batches

    assert in_loop(test) == [[0], [1, 2], [1], [2]]


def test_a_full_queue_refuses_and_recovers():
    async def test(scheduler, model, lane):
        model.gate.clear()
        running = submit(scheduler, lane, 0)
        waiting = submit(scheduler, lane, 1, 2)
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="2 rows wait") as caught:
            await submit(scheduler, lane, 3)
        assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        model.gate.set()
        await asyncio.gather(running, waiting)
        return await submit(scheduler, lane, 3)

    assert in_loop(test, max_queued_rows=2)["y"].tolist() == [[6]]


def test_who_is_too_late_or_hangs_up_is_not_run():
    async def test(scheduler, model, lane):
        now = asyncio.get_running_loop().time()
        model.gate.clear()
        running = submit(scheduler, lane, 0)
        late = submit(scheduler, lane, 1, deadline=now)
        gone = submit(scheduler, lane, 2)
        stays = submit(scheduler, lane, 3)
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(running, stays)
        with pytest.raises(RequestError, match="deadline passed") as caught:
            await late
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        return model.batches

    assert in_loop(test) == [[0], [3]]


def test_a_batch_that_is_not_full_may_wait_while_others_run():
    async def test(scheduler, model, lane):
        other = Lane("other", model.run, mergeable=True)
        scheduler._runners = 2
        model.gate.clear()
        running = submit(scheduler, other, 9)
        await asyncio.sleep(0)
        first = submit(scheduler, lane, 1)
        await asyncio.sleep(0.01)
        second = submit(scheduler, lane, 2)
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(running, first, second)
        return sorted(model.batches)

    assert in_loop(test, timeout_micros=10**9, max_batch_size=2) == [[1, 2], [9]]
