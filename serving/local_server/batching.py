"""Merges concurrent requests for one signature into batches.

A request that finds a free runner starts at once. While all runners are busy,
requests gather, and the next free runner takes as many of them as fit. Load so
makes the batches larger, and a lone client never pays for batching. A request
that is larger than a batch runs in parts, which do not keep others waiting.
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
from serving.local_server.merging import cut
from serving.local_server.merging import join
from serving.local_server.merging import merge
from serving.local_server.merging import split
from serving.local_server.metrics import ServerMetrics
from serving.local_server.signature import Arrays

Run = Callable[[Arrays, float | None], Arrays]


@dataclass
class Work:
    """One request, or a part of one, that waits for its turn.

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
        mergeable: whether requests may share a batch, and run in parts.
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
            RequestError: the run failed, the queue is full, or it is too late.
        """
        size = rows or 1
        if self._queued_rows and self._queued_rows + size > self._options.max_queued_rows:
            raise RequestError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._queued_rows} rows wait already (`max_queued_rows` is "
                f"{self._options.max_queued_rows}). Try again a little later.",
            )
        if rows is None or rows <= self._options.max_batch_size or not lane.mergeable:
            whole = self._queue(lane, arrays, rows, deadline)
            self._pump()
            return await whole
        return await self._in_parts(lane, arrays, rows, deadline)

    async def _in_parts(
        self, lane: Lane, arrays: Arrays, rows: int, deadline: float | None
    ) -> Arrays:
        """Runs a large request part by part; once one fails the rest is left out.

        No more parts are under way than there are runners: a later one comes into the
        queue behind whoever asked meanwhile.
        """
        pieces = cut(arrays, rows, self._options.max_batch_size)
        parts: list[asyncio.Future[Arrays]] = []
        self._queued_rows += rows  # the whole request waits
        try:
            for piece, size in pieces:
                if len(parts) >= self._runners:
                    await parts[-self._runners]
                self._queued_rows -= size
                parts.append(self._queue(lane, piece, size, deadline))
                self._pump()
            return join([await part for part in parts], [size for _, size in pieces])
        except ValueError as error:
            logging.warning("Requests for %s run in parts no more: %s", lane.name, error)
            lane.mergeable = False
            return await self.submit(lane, arrays, rows, deadline)
        finally:
            self._queued_rows -= sum(size for _, size in pieces[len(parts) :])
            for part in parts:
                part.cancel()

    def _queue(
        self, lane: Lane, arrays: Arrays, rows: int | None, deadline: float | None
    ) -> asyncio.Future[Arrays]:
        """Puts work into its queue and returns what resolves to its outputs."""
        size = rows or 1
        work = Work(arrays, size, deadline, self._loop.time(), self._loop.create_future())
        if rows is None or not can_merge(arrays):
            lane = Lane(lane.name, lane.run, mergeable=False)
        lane.waiting.append(work)
        self._lanes[lane] = None
        self._queued_rows += size
        return work.done

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
            work.done.set_exception(_too_late("The deadline passed in the queue."))
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
        try:
            results = await self._loop.run_in_executor(self._executor, self._execute, lane, batch)
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

    def _execute(self, lane: Lane, batch: Sequence[Work]) -> list[Arrays | Exception]:
        """Runs a batch, on a runner's thread; one bad request fails alone."""
        if len(batch) > 1:
            try:
                self._metrics.runs.add()
                outputs = lane.run(merge([work.arrays for work in batch]), self._left(batch))
                return list(split(outputs, [work.rows for work in batch]))
            except RequestError as error:
                if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                    return [error] * len(batch)
            except ValueError as error:
                logging.warning("Requests for %s are merged no more: %s", lane.name, error)
                lane.mergeable = False
        return [self._execute_one(lane, work) for work in batch]

    def _execute_one(self, lane: Lane, work: Work) -> Arrays | Exception:
        left = self._left([work])
        if work.done.done() or (left is not None and left <= 0):
            return _too_late("The deadline passed before the run.")
        self._metrics.runs.add()
        try:
            return lane.run(work.arrays, left)
        except Exception as error:  # handed to the one who asked
            return error

    def _left(self, batch: Sequence[Work]) -> float | None:
        """Returns the seconds until nobody waits for a batch; `None` where somebody always does."""
        deadlines = [work.deadline for work in batch if work.deadline is not None]
        return max(deadlines) - self._loop.time() if len(deadlines) == len(batch) else None


def _too_late(message: str) -> RequestError:
    return RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, message)


def check_rows(rows: int, options: BatchingConfig) -> None:
    """Raises `RequestError` for a request with more rows than one may have."""
    if rows > options.max_request_rows:
        raise invalid(
            f"Expected at most {options.max_request_rows} rows in a request "
            f"(`max_request_rows`). Received: {rows}. Send smaller batches."
        )
