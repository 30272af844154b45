"""The local server as an object: start, ask, stop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import grpc
from absl import logging
from grpc_health.v1 import health
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc

from serving.client import protos
from serving.local_server.announce import describe
from serving.local_server.batching import BatchScheduler
from serving.local_server.batching_file import with_batching_file
from serving.local_server.byte_budget import ByteBudget
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig
from serving.local_server.errors import StartError
from serving.local_server.http_server import HttpServer
from serving.local_server.metrics import ServerMetrics
from serving.local_server.model_service import ModelService
from serving.local_server.models_config import configured_models
from serving.local_server.prediction_service import PredictionService
from serving.local_server.predictor import Predictor
from serving.local_server.registry import Registry
from serving.local_server.rest import RestApi
from serving.local_server.tls import server_credentials

_STATUS_CALLS = 1000  # at once, beside predictions
_HEALTH_SERVICES = ("", protos.PREDICTION_SERVICE, protos.MODEL_SERVICE)


class LocalServer:
    """Answers TF Serving's gRPC protocol on a laptop.

    It loads, swaps and batches in Python, one process, and is meant for
    development, tests and demonstrations; production runs TF Serving on the
    same directories. Runs on a thread of its own between `start` and `stop`.

    Args:
        config: what to serve, and where.
        say: takes a line when loading begins, and whenever what a model answers
            with changes.
    """

    def __init__(self, config: ServerConfig, say: Callable[[str], None] = logging.info) -> None:
        self.config = config
        self._say = say
        self.metrics = ServerMetrics()
        self.port = 0
        self.rest_port: int | None = None
        self.registry: Registry | None = None
        self._http: HttpServer | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._drain_seconds = config.drain_seconds

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return _join(self.config.host, self.port)

    def _addresses(self) -> str:
        grpc_address = f"{self.address} (gRPC)"
        if self.rest_port is None:
            return grpc_address
        return f"{grpc_address} and {_join(self.config.rest_host, self.rest_port)} (REST)"

    def start(self) -> None:
        """Listens, loads the models and begins to answer.

        Returns when every version that should be served was tried. Until then,
        and for a model without a version that loads, which is no error, the
        server answers UNAVAILABLE; it keeps looking for versions.

        Raises:
            StartError: the port is taken, a base path or certificate is not there,
                or a label names a version that is not available.
            ValueError: `models_config_file` or `batching_parameters_file` cannot be read.
        """
        self.config = with_batching_file(self.config)
        models = configured_models(self.config)
        for model in models:
            if not model.base_path.is_dir():
                raise StartError(
                    f"Expected a directory with versions at {model.base_path} for model "
                    f"`{model.name}`. Received: nothing there. Push a model first."
                )
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(models, started)), name="local-server"
        )
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self.stop(drain_seconds=0)
            raise

    def stop(self, drain_seconds: float | None = None) -> None:
        """Takes no more requests, ends those under way, frees the models.

        Args:
            drain_seconds: how long requests may go on, in place of the
                configuration's.
        """
        if drain_seconds is not None:
            self._drain_seconds = drain_seconds
        if self._loop is not None and self._stopping is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> LocalServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def _main(
        self, models: tuple[ModelConfig, ...], started: concurrent.futures.Future[None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            server = self._listen()
            scheduler = BatchScheduler(self.config.batching, self.config.runners, self.metrics)
            registry = self.registry = Registry(self.config, scheduler, self.metrics)
            healths = health.aio.HealthServicer()
            predictor = Predictor(registry, self.metrics, self.config)
            rest = self._add_services(server, predictor, healths)
            await _set_health(healths, False)
            for model in models:
                self._say(f"Loading model `{model.name}` from {model.base_path} ...")
            # In this order: the models are known, as loading, to the first request.
            refused, _ = await asyncio.gather(registry.apply(models), server.start())
            if not refused:
                registry.start_polling(models)
        except BaseException as error:
            self._close_http()
            started.set_exception(error)
            return
        if refused:
            self._drain_seconds = 0.0
        else:
            started.set_result(None)
            await self._watch(registry, healths)
        await self._shut_down(server, scheduler, predictor, rest, healths)
        if refused:
            started.set_exception(
                StartError(
                    f"Refused: {'; '.join(refused)}. Push or mend the version, take the label "
                    "away, or set `allow_version_labels_for_unavailable_models`."
                )
            )

    def _listen(self) -> Any:
        config = self.config
        server = grpc.aio.server(
            options=[
                # Without this two servers would share the port in silence.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.max_send_message_length", config.max_message_bytes),
            ],
            # The predictor refuses beyond `max_concurrent_requests`; status goes on.
            maximum_concurrent_rpcs=config.max_concurrent_requests + _STATUS_CALLS,
        )
        wanted = _join(config.host, config.port)
        try:
            if config.tls is None:
                self.port = server.add_insecure_port(wanted)
            else:
                self.port = server.add_secure_port(wanted, server_credentials(config.tls))
        except RuntimeError as error:
            if isinstance(error, StartError):
                raise
            raise StartError(
                f"Cannot listen on {wanted}: the port is taken or the address is not this "
                "machine's. Set another `port` (`--port`), or stop what listens there."
            ) from error
        return server

    def _add_services(self, server: Any, predictor: Predictor, healths: Any) -> RestApi:
        config = self.config
        predictions = PredictionService(predictor, config)
        models = ModelService(predictor.registry, config.reload_root)
        server.add_generic_rpc_handlers((predictions.handler(), models.handler()))
        health_pb2_grpc.add_HealthServicer_to_server(healths, server)
        rest = RestApi(asyncio.get_running_loop(), predictor, models, self.metrics, config)
        if config.rest_port is not None:
            bodies = ByteBudget(config.max_concurrent_bytes, "The bodies under way")
            self._http = HttpServer(
                config.rest_host, config.rest_port, rest.answer, config.max_message_bytes, bodies
            )
            self.rest_port = self._http.port
        return rest

    async def _watch(self, registry: Registry, healths: Any) -> None:
        """Keeps the health status true, and says what changes, until the server is to stop."""
        assert self._stopping is not None
        said: dict[str, str] = {}
        while not self._stopping.is_set():
            await _set_health(healths, registry.ready())
            lines = {name: describe(m, self._addresses()) for name, m in registry.models.items()}
            for name, line in lines.items():
                if said.get(name) != line:
                    self._say(line)
            said = lines
            try:
                await asyncio.wait_for(self._stopping.wait(), self.config.poll_seconds)
            except asyncio.TimeoutError:
                continue

    async def _shut_down(
        self,
        server: Any,
        scheduler: BatchScheduler,
        predictor: Predictor,
        rest: RestApi,
        healths: Any,
    ) -> None:
        logging.info("Stopping; requests under way have %.0f s", self._drain_seconds)
        await healths.enter_graceful_shutdown()
        await asyncio.gather(server.stop(self._drain_seconds), rest.drain(self._drain_seconds))
        await scheduler.close()
        await predictor.registry.close()
        predictor.close()
        self._close_http()
        logging.info("Stopped")

    def _close_http(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


async def _set_health(healths: Any, serving: bool) -> None:
    kinds = health_pb2.HealthCheckResponse
    status = kinds.SERVING if serving else kinds.NOT_SERVING
    for service in _HEALTH_SERVICES:
        await healths.set(service, status)
