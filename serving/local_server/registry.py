"""All served models, kept in step with their directories."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Iterable
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from absl import logging

from serving.local_server.batching import BatchScheduler
from serving.local_server.batching import Lane
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig
from serving.local_server.disk import check_below
from serving.local_server.errors import not_found
from serving.local_server.metrics import ServerMetrics
from serving.local_server.model import ServedModel
from serving.local_server.models_config import configured_models
from serving.local_server.servable import Servable
from serving.local_server.signature import Arrays
from serving.local_server.signature import ServedSignature
from serving.local_server.warmup import warm_up
from serving.pickles import refuse_pickles


class Registry:
    """Looks for versions, loads and frees them, and finds them for requests.

    Belongs to one event loop.
    """

    def __init__(
        self, config: ServerConfig, scheduler: BatchScheduler, metrics: ServerMetrics
    ) -> None:
        self.models: dict[str, ServedModel] = {}
        self.scheduler = scheduler
        self._config = config
        self._metrics = metrics
        self._executor = ThreadPoolExecutor(2, thread_name_prefix="loader")
        self._successors: dict[str, ServedModel] = {}  # of models that answer until these do
        self._leaving: list[ServedModel] = []
        self._poller: asyncio.Task[None] | None = None
        self._configured: tuple[ModelConfig, ...] = ()

    def find(self, name: str) -> ServedModel:
        """Returns a model by its name.

        Raises:
            RequestError: NOT_FOUND, with the names that there are.
        """
        model = self.models.get(name)
        if model is None:
            raise not_found(f"There is no model `{name}`; this server has {sorted(self.models)}.")
        return model

    async def apply(self, models: tuple[ModelConfig, ...]) -> list[str]:
        """Serves exactly these models; returns when their versions were tried.

        A model whose base path stays keeps its loaded versions; one with another base path
        answers from the old one until a version of the new one does.

        Returns:
            The labels that are refused, each with the reason.
        """
        old, self.models = self.models, {}
        outdated, self._successors = self._successors, {}
        for config in models:
            served = old.pop(config.name, None)
            if served is not None and served.config.base_path == config.base_path:
                served.config = config
                self.models[config.name] = served
                continue
            model = ServedModel(config, self._load, self._make_lanes, self._executor)
            self.models[config.name] = served or model
            if served is not None:
                self._successors[config.name] = model
        coming = [*self.models.values(), *self._successors.values()]
        await asyncio.gather(*(model.reconcile(settled=True) for model in coming))
        self._succeed()
        self._leave([*old.values(), *outdated.values()])
        return self._settle_labels()

    def ready(self) -> bool:
        """Returns whether every model has a version that answers."""
        return all(model.available() for model in self.models.values())

    def start_polling(self, models: tuple[ModelConfig, ...]) -> None:
        """Begins to look for versions, and for another configuration, every so often.

        Args:
            models: the configuration so far.
        """
        self._configured = models
        self._poller = asyncio.get_running_loop().create_task(self._poll())

    async def close(self) -> None:
        """Stops looking, and frees every version once its requests are done."""
        if self._poller is not None:
            self._poller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._poller
        models = [*self.models.values(), *self._successors.values(), *self._leaving]
        for model in models:
            model.drain()
        for model in models:
            await model.drained()
        self._executor.shutdown(wait=True)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._config.poll_seconds)
            await self._reread()
            for model in [*self.models.values(), *self._successors.values()]:
                try:
                    await model.reconcile(settled=False)
                except Exception:  # the next look may succeed; serving goes on meanwhile
                    logging.exception("Looking for versions of %s failed", model.config.name)
            self._succeed()
            self._settle_labels()

    async def _reread(self) -> None:
        """Takes what files say of models and labels, once it is something else."""
        loop = asyncio.get_running_loop()
        try:
            models = await loop.run_in_executor(self._executor, configured_models, self._config)
        except ValueError as error:  # the models stay as they are
            logging.log_every_n_seconds(logging.ERROR, "%s", 60, error)
            return
        if models != self._configured:
            self._configured = models
            logging.info("The configuration of models changed: %s", [m.name for m in models])
            await self.apply(models)

    def _settle_labels(self) -> list[str]:
        allow = self._config.allow_version_labels_for_unavailable_models
        models = [*self.models.values(), *self._successors.values()]
        refused = [text for model in models for text in model.settle_labels(allow)]
        if refused:
            logging.log_every_n_seconds(logging.ERROR, "Refused: %s", 60, "; ".join(refused))
        return refused

    def _succeed(self) -> None:
        """Puts models with another base path in their places, once they answer."""
        ready = [name for name, model in self._successors.items() if model.available()]
        for name in ready:
            before, self.models[name] = self.models[name], self._successors.pop(name)
            self._leave([before])

    def _leave(self, models: Iterable[ServedModel]) -> None:
        gone = list(models)
        for model in gone:
            model.drain()
        self._leaving = [model for model in self._leaving if model.draining] + gone

    def _load(self, name: str, number: int, path: Path) -> Servable:
        """Loads and warms up a version, on a loader's thread."""
        if self._config.reload_root is not None:
            check_below(path, self._config.reload_root)
        if not (path / "saved_model.pb").exists():
            raise ValueError(f"{path} has no saved_model.pb; it is not complete")
        refuse_pickles(path)
        start = time.perf_counter()
        servable = None
        status = "fail"
        try:
            servable = Servable(
                name,
                number,
                path,
                self._config.intra_op_threads,
                self._config.inter_op_threads,
            )
            micros = int((time.perf_counter() - start) * 1e6)
            self._metrics.load_latency.add(str(path), by=micros)
            requests = warm_up(servable, self._metrics, self._config.batching)
            logging.info("Version %d of %s answered %d warm-up requests", number, name, requests)
            status = "success"
        except BaseException:
            if servable is not None:
                servable.close()
            raise
        finally:
            self._metrics.load_attempts.add(str(path), status)
        return servable

    def _make_lanes(self, servable: Servable) -> Mapping[str, Lane]:
        options = self._config.batching
        return {
            name: Lane(
                name,
                functools.partial(self._run, servable, signature),
                options.enabled and name not in options.unmerged_signatures,
            )
            for name, signature in servable.signatures.items()
        }

    def _run(
        self,
        servable: Servable,
        signature: ServedSignature,
        inputs: Arrays,
        timeout: float | None,
    ) -> Arrays:
        start = time.perf_counter()
        try:
            return servable.run(signature, inputs, timeout)
        finally:
            micros = (time.perf_counter() - start) * 1e6
            self._metrics.runtime_latency.observe(micros, servable.model, "Predict", "TF1")
