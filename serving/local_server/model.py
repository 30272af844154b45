"""One served model: which of its versions are in memory, and which answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

import grpc
from absl import logging

from serving.local_server.batching import Lane
from serving.local_server.config import ModelConfig
from serving.local_server.disk import find_versions
from serving.local_server.disk import fingerprint
from serving.local_server.errors import RequestError
from serving.local_server.errors import not_found
from serving.local_server.servable import Servable
from serving.local_server.servable import head
from serving.local_server.version import State
from serving.local_server.version import Version

T = TypeVar("T")
Load = Callable[[str, int, Path], Servable]
MakeLanes = Callable[[Servable], Mapping[str, Lane]]


class ServedModel:
    """Keeps the wanted versions of one model in memory.

    A new version is loaded and warmed up aside; then it answers, all at once;
    then the old one ends its requests and is freed. A version that cannot be
    loaded changes nothing but the log and its status; it is tried again when
    its files change. Belongs to one event loop; loading leaves it.

    Args:
        config: name, base path, and which versions are wanted.
        load: loads and warms up a version; raises on any fault.
        make_lanes: makes the queues of a loaded version.
        executor: where loading and freeing run.
    """

    def __init__(
        self, config: ModelConfig, load: Load, make_lanes: MakeLanes, executor: Executor
    ) -> None:
        self.config = config
        self.versions: dict[int, Version] = {}
        self.labels: dict[str, int] = {}  # those in force
        self._load = load
        self._make_lanes = make_lanes
        self._executor = executor
        self._draining: set[asyncio.Task[None]] = set()
        self._reconciling = asyncio.Lock()

    def available(self) -> list[Version]:
        """Returns the versions that answer, newest first."""
        found = [v for v in self.versions.values() if v.state is State.AVAILABLE]
        return sorted(found, key=lambda version: -version.number)

    def resolve(self, number: int | None, label: str) -> Version:
        """Returns the version that a request asks for.

        Raises:
            RequestError: it is not there, with what is.
        """
        if label:
            if label not in self.labels:
                raise not_found(
                    f"Model `{self.config.name}` has no version label `{label}`; its labels are "
                    f"{self.labels}."
                )
            number = self.labels[label]
        available = self.available()
        if number is None and available:
            return available[0]
        for version in available:
            if version.number == number:
                return version
        have = [version.number for version in available]
        if number is None:
            reasons = "; ".join(f"{v.number}: {v.fault}" for v in self.versions.values() if v.fault)
            raise RequestError(
                grpc.StatusCode.UNAVAILABLE,
                f"Model `{self.config.name}` has no version loaded yet"
                + (f" ({reasons})." if reasons else "."),
            )
        raise not_found(f"Model `{self.config.name}` has no version {number}; it serves {have}.")

    async def reconcile(self, settled: bool) -> None:
        """Loads and frees versions until memory matches the directory.

        Args:
            settled: take the files as they are. Otherwise a new directory has
                to look the same twice in a row, so that one which is still
                being copied is left alone.
        """
        async with self._reconciling:
            try:
                on_disk = await self._in_executor(find_versions, self.config.base_path)
            except OSError as error:
                logging.log_every_n_seconds(
                    logging.WARNING,
                    "Cannot look for versions of %s: %s",
                    60,
                    self.config.name,
                    error,
                )
                return
            wanted = await self._bring_up_wanted(on_disk, settled)
            if wanted:
                self._retire(wanted)
            self._forget(on_disk)

    def settle_labels(self, allow_unavailable: bool) -> list[str]:
        """Puts the configured labels in force; one that is refused stays where it was.

        Args:
            allow_unavailable: take new labels of versions that do not answer.

        Returns:
            The labels that are refused, each with the reason.
        """
        answering = {version.number for version in self.available()}
        settled, refused = {}, []
        for label, number in self.config.labels.items():
            before = self.labels.get(label)
            new = before is None and allow_unavailable
            if number in answering or number == before or new:
                settled[label] = number
                continue
            if before is not None:
                settled[label] = before
            fault = self.versions[number].fault if number in self.versions else ""
            refused.append(
                f"label `{label}` of model `{self.config.name}` names version {number}, which is "
                "not available" + (f" ({fault})" if fault else "")
            )
        self.labels = settled
        return refused

    def drain(self) -> None:
        """Begins to free every version."""
        self._retire(set())

    @property
    def draining(self) -> bool:
        """True while a version is being freed."""
        return bool(self._draining)

    async def drained(self) -> None:
        """Waits until every version that is being freed is."""
        if self._draining:
            await asyncio.wait(self._draining)

    async def _bring_up_wanted(self, on_disk: Mapping[int, Path], settled: bool) -> set[int]:
        """Loads what should be served; returns what of it is loaded.

        Versions that cannot be loaded do not count among the newest, so that
        the last good one answers also after a restart.
        """
        labelled = {*self.config.labels.values(), *self.labels.values()}
        fixed = set(self.config.versions) or labelled
        missing = sorted(fixed - on_disk.keys())
        if missing:
            logging.log_every_n_seconds(
                logging.WARNING,
                "Versions %s of %s are not below %s",
                60,
                missing,
                self.config.name,
                self.config.base_path,
            )
        wanted = set()
        for number in sorted(fixed & on_disk.keys(), reverse=True):
            if await self._ensure(number, on_disk[number], settled):
                wanted.add(number)
        if self.config.versions:
            return wanted
        newest: list[int] = []
        for number in sorted(on_disk, reverse=True):
            if len(newest) == self.config.newest:
                break
            if await self._ensure(number, on_disk[number], settled):
                newest.append(number)
        return wanted | set(newest)

    async def _ensure(self, number: int, path: Path, settled: bool) -> bool:
        """Loads a version unless it is loaded; returns whether it is."""
        version = self.versions.get(number)
        if version is not None and version.state is State.AVAILABLE:
            return True
        if version is not None and version.state is State.UNLOADING:
            return False
        try:
            files = await self._in_executor(fingerprint, path)
        except OSError:  # it went away between two looks
            return False
        if version is not None and version.files == files and version.state is State.END:
            return False
        if not settled and (version is None or version.files != files):
            self.versions[number] = Version(number, path, files=files)
            return False
        version = self.versions[number] = Version(number, path, State.LOADING, files=files)
        await self._bring_up(version)
        return version.state is State.AVAILABLE

    async def _bring_up(self, version: Version) -> None:
        name = self.config.name
        start = time.monotonic()
        try:
            version.servable = await self._in_executor(
                self._load, name, version.number, version.path
            )
        except Exception as error:  # any fault of the files must leave the others serving
            text = str(error).strip()
            version.fault = head(text) if text else type(error).__name__
            version.state = State.END
            logging.error(
                "Version %d of %s cannot be served (%s: %s). It is tried again when its files "
                "change; %s answers meanwhile",
                version.number,
                name,
                type(error).__name__,
                version.fault,
                self.available()[0].number if self.available() else "no version",
            )
            return
        version.lanes = self._make_lanes(version.servable)
        version.idle.set()
        version.state = State.AVAILABLE
        logging.info(
            "Version %d of %s is served (loaded and warm in %.1f s)",
            version.number,
            name,
            time.monotonic() - start,
        )

    def _retire(self, wanted: set[int]) -> None:
        for version in self.available():
            if version.number not in wanted:
                version.state = State.UNLOADING
                task = asyncio.get_running_loop().create_task(self._free(version))
                self._draining.add(task)
                task.add_done_callback(self._draining.discard)

    async def _free(self, version: Version) -> None:
        await version.idle.wait()
        servable, version.servable, version.lanes = version.servable, None, {}
        if servable is not None:
            await self._in_executor(servable.close)
        version.state = State.END
        version.files = ()  # it may come back
        logging.info("Version %d of %s is freed", version.number, self.config.name)

    def _forget(self, on_disk: Mapping[int, Path]) -> None:
        for number, version in list(self.versions.items()):
            if number not in on_disk and version.state in (State.START, State.END):
                del self.versions[number]

    async def _in_executor(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)
