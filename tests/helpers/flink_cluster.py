"""A Flink cluster on this machine: JobManager, TaskManagers on two hosts, Beam's job server.

    with flink_cluster(folder) as cluster:
        beam.Pipeline(options=PipelineOptions(cluster.options))
        cluster.lose_taskmanager(HOSTS[0])

A host is an address of the loopback interface with a TaskManager and a pool of
Beam workers. Beam gives all TaskManagers one address of a pool; here it is a
name, which each host resolves to itself. Nothing listens on another interface.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from tests.helpers import flink_settings as settings
from tests.helpers.flink_settings import HOSTS
from tests.helpers.flink_settings import TOOLS

PATIENCE = 180.0  # seconds

_MASTER = HOSTS[0]
_POOL = "beam-workers"  # what a host's own pool is called on it


def missing() -> str:
    """Returns why no cluster can be started here, "" when one can."""
    if shutil.which("java") is None:
        return "Flink needs Java, and none was found"
    if not (TOOLS / "beam-version").is_file():
        return "Flink is not set up: run `make flink`"
    packaged, installed = (TOOLS / "beam-version").read_text().strip(), version("apache-beam")
    if packaged != installed:
        return f"Flink is set up for Beam {packaged}, and this is {installed}: run `make flink`"
    return ""


@contextlib.contextmanager
def flink_cluster(folder: Path) -> Iterator[FlinkCluster]:
    """Starts a cluster whose files and logs are in `folder`, and ends all its processes."""
    cluster = FlinkCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class FlinkCluster:
    """A running cluster.

    Attributes:
        options: Options of a Beam pipeline that is to run here.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        names = ("rpc", "rest", "job", "artifact", "expansion", "workers")
        self._ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.options = [
            "--runner=PortableRunner",
            f"--job_endpoint={_MASTER}:{self._ports['job']}",
            "--environment_type=EXTERNAL",
            f"--environment_config={_POOL}:{self._ports['workers']}",
            f"--parallelism={len(HOSTS)}",
        ]

    def start(self) -> None:
        """Starts everything and waits until it is ready."""
        ports = self._ports
        configuration = settings.configuration(self._folder, ports["rpc"], ports["rest"])
        (self._folder / "config.yaml").write_text(configuration)
        (self._folder / "log4j.properties").write_text(settings.LOGGING)
        self._run("jobmanager", settings.jobmanager(self._folder))
        self._start_hosts()
        options = [f"--{name}-port={ports[name]}" for name in ("job", "artifact", "expansion")]
        options += [f"--job-host={_MASTER}", f"--flink-master={_MASTER}:{ports['rest']}"]
        options += [f"--artifacts-dir={self._folder / 'artifacts'}"]
        job_server = ["-jar", str(TOOLS / "job-server.jar"), *options]
        self._run("job-server", [*settings.java(), *job_server])
        self._until(lambda: _connect((_MASTER, ports["job"])))
        self._wait_for_hosts()

    def ask(self, path: str) -> Any:
        """Returns what the JobManager's REST interface answers."""
        address = f"http://{_MASTER}:{self._ports['rest']}{path}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)

    def jobs(self) -> list[dict[str, Any]]:
        """Returns all jobs so far with `jid`, `name` and `state`, oldest first."""
        return sorted(self.ask("/jobs/overview")["jobs"], key=lambda job: job["start-time"])

    def processes(self) -> list[psutil.Process]:
        """Returns all processes of the cluster, those that Beam started among them."""
        found = []
        for process in self._processes.values():
            one = psutil.Process(process.pid)
            found += [one, *one.children(recursive=True)]
        return found

    def lose_taskmanager(self, host: str) -> None:
        """Kills a host's TaskManager; its Beam workers lose what they talked to."""
        _kill(self._processes.pop(f"taskmanager-{host}"))

    def lose_host(self, host: str) -> None:
        """Kills all that runs on a host, as a machine that fails does."""
        self.lose_taskmanager(host)
        _kill(self._processes.pop(f"workers-{host}"))

    def restore(self) -> None:
        """Starts again what was lost."""
        self._start_hosts()
        self._wait_for_hosts()

    def stop(self) -> None:
        """Kills all processes."""
        while self._processes:
            _kill(self._processes.popitem()[1])

    def _start_hosts(self) -> None:
        for host in HOSTS:
            if f"workers-{host}" not in self._processes:
                pool = "apache_beam.runners.worker.worker_pool_main"
                port = f"--service_port={self._ports['workers']}"
                self._run(f"workers-{host}", [sys.executable, "-m", pool, port], host)
            if f"taskmanager-{host}" not in self._processes:
                names = self._folder / f"hosts-{host}"
                names.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n{host} {_POOL}\n")
                command = settings.taskmanager(self._folder, host, names)
                self._run(f"taskmanager-{host}", command)

    def _wait_for_hosts(self) -> None:
        self._until(lambda: len(self.ask("/taskmanagers")["taskmanagers"]) == len(HOSTS))
        for host in HOSTS:
            self._until(lambda at=(host, self._ports["workers"]): _connect(at))

    def _run(self, name: str, command: list[str], address: str = _MASTER) -> None:
        # The pool starts its workers as plain `python`.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        narrow = {"LD_PRELOAD": str(TOOLS / "loopback.so"), "LISTEN_ON": address}
        if shutil.which("setpriv"):  # not even a killed test leaves processes behind
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=TOOLS.parents[1],
                env={**os.environ, **narrow, "PATH": path},
                start_new_session=True,
            )

    def _until(self, ready: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                if ready():
                    return
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended:\n{self._log(name).read_text()[-3000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"The cluster is not ready; its logs are in {self._folder}.")
            time.sleep(0.2)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills a process with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _connect(address: tuple[str, int]) -> bool:
    with socket.create_connection(address, timeout=5):
        return True


def _free_ports(count: int) -> list[int]:
    """Returns ports that are free on all hosts."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            port = stack.enter_context(socket.create_server((HOSTS[0], 0))).getsockname()[1]
            for host in HOSTS[1:]:
                stack.enter_context(socket.create_server((host, port)))
            found.append(port)
    return found
