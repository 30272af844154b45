"""Runs signatures for whoever asks, within the bounds of the server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from typing import TypeVar

import grpc
from absl import logging

from serving.local_server.batching import check_rows
from serving.local_server.byte_budget import ByteBudget
from serving.local_server.config import ServerConfig
from serving.local_server.errors import RequestError
from serving.local_server.errors import invalid
from serving.local_server.errors import not_found
from serving.local_server.metrics import ServerMetrics
from serving.local_server.registry import Registry
from serving.local_server.signature import Arrays
from serving.local_server.signature import Folded
from serving.local_server.signature import ServedSignature
from serving.local_server.version import Version

T = TypeVar("T")
# Returns a `TensorProto` for each input of the signature that is asked for.
Inputs = Callable[[ServedSignature], Mapping[str, Any]]
DEFAULT_SIGNATURE = "serving_default"


@dataclass
class Call:
    """A request that is counted under its model's name."""

    model: str = ""


@dataclass(frozen=True)
class Answer:
    """The outputs of a signature, and who gave them."""

    model: str
    version: int
    signature: str
    outputs: Arrays


class Predictor:
    """Looks up, checks, runs. Belongs to one event loop; what is large leaves it.

    Args:
        registry: the served models.
        metrics: where requests are counted.
        config: the bounds.
    """

    def __init__(self, registry: Registry, metrics: ServerMetrics, config: ServerConfig) -> None:
        self.registry = registry
        self._metrics = metrics
        self._config = config
        self._requests = 0
        self._inputs = ByteBudget(config.max_concurrent_bytes, "The requests under way")
        # One thread: large requests are unfolded one after the other.
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="large")

    async def aside(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls a function on the thread for what would keep the event loop from others."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._aside, function, *arguments)

    def close(self) -> None:
        """Ends the thread."""
        self._aside.shutdown(wait=True)

    async def predict(
        self, spec: Any, inputs: Inputs, wanted: list[str], left: float | None, large: bool
    ) -> Answer:
        """Runs a signature.

        Args:
            spec: a `ModelSpec`.
            inputs: makes the inputs; may raise `RequestError`.
            wanted: names of outputs; empty for all.
            left: seconds until the client gives up.
            large: make and unfold the inputs aside.

        Raises:
            RequestError: the request cannot be answered, with the reason.
        """
        deadline = None if left is None else asyncio.get_running_loop().time() + left
        version = self.resolve(spec)
        signature = _signature(version, spec)
        signature.check_outputs(wanted)
        self._begin(version)
        try:
            protos = await self.aside(inputs, signature) if large else inputs(signature)
            folded = signature.measure(protos)
            self._check_size(signature, folded)
            with self._inputs.hold(folded.bytes):
                unfold = (signature.decode, folded, self._config.refuse_nan)
                arrays = await self.aside(*unfold) if large else unfold[0](*unfold[1:])
                rows = folded.rows
                self._metrics.example_counts.observe(rows or 1, spec.name)
                self._metrics.examples.add(spec.name, by=rows or 1)
                lane = version.lanes[signature.name]
                outputs = await self.registry.scheduler.submit(lane, arrays, rows, deadline)
        finally:
            self._requests -= 1
            version.end()
        if wanted:
            outputs = {name: outputs[name] for name in wanted}
        return Answer(spec.name, version.number, signature.name, outputs)

    def resolve(self, spec: Any) -> Version:
        """Returns the version that a `ModelSpec` asks for.

        Raises:
            RequestError: it is not there.
        """
        number = spec.version.value if spec.HasField("version") else None
        return self.registry.find(spec.name).resolve(number, spec.version_label)

    @contextlib.contextmanager
    def counted(self, entrypoint: str) -> Iterator[Call]:
        """Counts a request, and makes a `RequestError` of any failure that is none.

        Args:
            entrypoint: `GRPC` or `REST`.

        Yields:
            The call, to be told its model.
        """
        start = time.perf_counter()
        call, status = Call(), "CANCELLED"  # the client hung up, or its deadline passed
        try:
            yield call
            status = "OK"
        except RequestError as error:
            status = error.code.name
            raise
        except Exception as error:
            status = "INTERNAL"
            logging.exception("Predict for %s failed", call.model or "an unknown model")
            text = f"{type(error).__name__}: {error}"
            raise RequestError(grpc.StatusCode.INTERNAL, text) from error
        finally:
            name = call.model if call.model in self.registry.models else ""
            self._metrics.requests.add(name, status)
            micros = (time.perf_counter() - start) * 1e6
            self._metrics.request_latency.observe(micros, name, "Predict", entrypoint)

    def _begin(self, version: Version) -> None:
        if self._requests >= self._config.max_concurrent_requests:
            raise RequestError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._requests} requests are under way already (`max_concurrent_requests`). "
                "Try again a little later.",
            )
        self._requests += 1
        version.begin()

    def _check_size(self, signature: ServedSignature, folded: Folded) -> None:
        """Checks a request against the bounds of one."""
        check_rows(folded.rows or 1, self._config.batching)
        most = self._config.max_request_bytes
        if folded.bytes > most:
            raise invalid(
                f"Expected inputs that take at most {most:,} bytes of memory for {signature} "
                f"(`max_request_bytes`). Received: {folded.bytes:,}. Send fewer rows at once."
            )


def _signature(version: Version, spec: Any) -> ServedSignature:
    name = spec.signature_name or DEFAULT_SIGNATURE
    signatures = version.servable.signatures if version.servable is not None else {}
    if name not in signatures:
        raise not_found(
            f"Model `{spec.name}` version {version.number} has no signature `{name}`; it has "
            f"{sorted(signatures)}."
        )
    return signatures[name]
