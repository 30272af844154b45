"""Merges concurrent requests for one signature into batches.

A request that finds a free runner starts at once. While all runners are busy,
requests gather, and the next free runner takes as many of them as fit. Load so
makes the batches larger, and a lone client never pays for batching.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field

import grpc
from absl import logging

from serving.local_server.config import BatchingConfig
from serving.local_server.errors import RequestError
from serving.local_server.errors import invalid
from serving.local_server.merging import GrowingBatch
from serving.local_server.merging import can_merge
from serving.local_server.merging import merge
from serving.local_server.merging import split
from serving.local_server.metrics import ServerMetrics
from serving.local_server.signature import Arrays

Run = Callable[[Arrays, float | None], Arrays]


@dataclass
class Work:
    """One request that waits for its turn.

    Attributes:
        arrays: its checked inputs.
        rows: size of its batch, 1 when it has no batch dimension.
        deadline: when the client gives up, on the loop's clock.
        enqueued: when it came, on the loop's clock.
        done: resolves to its outputs.
    """

    arrays: Arrays
    rows: int
    deadline: float | None
    enqueued: float
    done: asyncio.Future[Arrays]


@dataclass(eq=False)
class Lane:
    """The queue of one signature of one version.

    Attributes:
        name: its name in the metrics.
        run: runs inputs within so many seconds; raises `RequestError`.
        mergeable: whether requests may share a batch.
    """

    name: str
    run: Run
    mergeable: bool
    waiting: deque[Work] = field(default_factory=deque)


class BatchScheduler:
    """Hands batches of all lanes to a fixed number of runner threads.

    All methods belong to one event loop; only the runs leave it.
    """

    def __init__(self, options: BatchingConfig, runners: int, metrics: ServerMetrics) -> None:
        self._options = options
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(runners, thread_name_prefix="runner")
        self._runners = runners
        self._running = 0
        self._queued_rows = 0
        self._lanes: dict[Lane, None] = {}  # those where something waits
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(
        self, lane: Lane, arrays: Arrays, rows: int | None, deadline: float | None
    ) -> Arrays:
        """Returns the outputs for a request, once its batch has run.

        Args:
            lane: where it queues.
            arrays: its checked inputs.
            rows: size of its batch; `None` runs it alone.
            deadline: on the loop's clock.

        Raises:
            RequestError: the run failed, it has too many rows, the queue is full, or it is
                too late.
        """
        size = rows or 1
        check_rows(size, self._options)
        if self._queued_rows and self._queued_rows + size > self._options.max_queued_rows:
            raise RequestError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._queued_rows} rows wait already (`max_queued_rows` is "
                f"{self._options.max_queued_rows}). Try again a little later.",
            )
        work = Work(arrays, size, deadline, self._loop.time(), self._loop.create_future())
        if rows is None or not can_merge(arrays):
            lane = Lane(lane.name, lane.run, mergeable=False)
        lane.waiting.append(work)
        self._lanes[lane] = None
        self._queued_rows += size
        self._pump()
        return await work.done

    async def close(self) -> None:
        """Waits for the batches under way and ends the runners."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._executor.shutdown(wait=True)

    def _pump(self) -> None:
        """Starts batches while there are free runners and something to run."""
        for lane in sorted(self._lanes, key=lambda lane: lane.waiting[0].enqueued):
            while lane.waiting and self._running < self._runners:
                pause = self._pause(lane)
                if pause > 0:
                    self._loop.call_later(pause, self._pump)
                    break
                batch = self._take(lane)
                if batch:
                    self._start(lane, batch)
            if not lane.waiting:
                del self._lanes[lane]

    def _pause(self, lane: Lane) -> float:
        """Returns how long a batch may still wait for more rows, in seconds."""
        if not (self._options.timeout_micros and self._running and lane.mergeable):
            return 0.0
        if sum(work.rows for work in lane.waiting) >= self._options.max_batch_size:
            return 0.0
        waited = self._loop.time() - lane.waiting[0].enqueued
        return self._options.timeout_micros / 1e6 - waited

    def _take(self, lane: Lane) -> list[Work]:
        """Removes the next batch from a lane; leaves out who gave up."""
        batch: list[Work] = []
        sizes = GrowingBatch()
        while lane.waiting:
            work = lane.waiting[0]
            alive = self._is_alive(work)
            if alive and batch:
                if not lane.mergeable or sizes.rows + work.rows > self._options.max_batch_size:
                    break
            if alive and not sizes.take(work.arrays, work.rows):
                break
            lane.waiting.popleft()
            self._queued_rows -= work.rows
            if alive:
                batch.append(work)
        return batch

    def _is_alive(self, work: Work) -> bool:
        if work.done.done():  # the client hung up
            return False
        if work.deadline is not None and self._loop.time() >= work.deadline:
            work.done.set_exception(
                RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "The deadline passed in the queue.")
            )
            return False
        return True

    def _start(self, lane: Lane, batch: list[Work]) -> None:
        self._running += 1
        now = self._loop.time()
        for work in batch:
            self._metrics.queuing_latency.observe((now - work.enqueued) * 1e6, lane.name)
        task = self._loop.create_task(self._run(lane, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, lane: Lane, batch: list[Work]) -> None:
        deadlines = [work.deadline for work in batch if work.deadline is not None]
        left = None
        if len(deadlines) == len(batch):
            left = max(0.001, max(deadlines) - self._loop.time())
        requests = [(work.arrays, work.rows) for work in batch]
        try:
            results = await self._loop.run_in_executor(
                self._executor, self._execute, lane, requests, left
            )
        except Exception as error:  # nobody may wait for ever
            results = [error] * len(batch)
        self._running -= 1
        for work, result in zip(batch, results, strict=True):
            if work.done.done():
                continue
            if isinstance(result, Exception):
                work.done.set_exception(result)
            else:
                work.done.set_result(result)
        self._pump()

    def _execute(
        self, lane: Lane, requests: Sequence[tuple[Arrays, int]], left: float | None
    ) -> list[Arrays | Exception]:
        """Runs a batch, on a runner's thread; one bad request fails alone."""
        if len(requests) > 1:
            try:
                self._metrics.runs.add()
                outputs = lane.run(merge([arrays for arrays, _ in requests]), left)
                return list(split(outputs, [rows for _, rows in requests]))
            except RequestError as error:
                if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                    return [error] * len(requests)
            except ValueError as error:
                logging.warning("Requests for %s are merged no more: %s", lane.name, error)
                lane.mergeable = False
        return [self._execute_one(lane, arrays, left) for arrays, _ in requests]

    def _execute_one(self, lane: Lane, arrays: Arrays, left: float | None) -> Arrays | Exception:
        self._metrics.runs.add()
        try:
            return lane.run(arrays, left)
        except Exception as error:  # handed to the one who asked
            return error


def check_rows(rows: int, options: BatchingConfig) -> None:
    """Raises `RequestError` for a request with more rows than one may have."""
    if rows > options.max_request_rows:
        raise invalid(
            f"Expected at most {options.max_request_rows} rows in a request "
            f"(`max_request_rows`). Received: {rows}. Send smaller batches."
        )
