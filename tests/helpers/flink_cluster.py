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
from pathlib import Path
from typing import Any

import psutil

HOSTS = ("127.0.0.1", "127.0.0.2")
SLOTS = 2  # of a TaskManager; enough for the whole job when the other one is gone
TOOLS = Path(__file__).parents[2] / ".tools" / "flink"
PATIENCE = 180.0  # seconds

_MASTER = HOSTS[0]
_POOL = "beam-workers"  # what a host's own pool is called on it
_OPENED = (
    "java.lang",
    "java.lang.reflect",
    "java.net",
    "java.nio",
    "java.time",
    "java.util",
    "java.util.concurrent",
    "sun.nio.ch",
)
# Little time and few threads for starting: the cluster lives for minutes.
_JAVA = (
    "java",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED),
)
_MEMORY = {  # of a TaskManager, MiB; Flink's start scripts would work this out
    "framework.heap.size": 128,
    "task.heap.size": 512,
    "framework.off-heap.size": 128,
    "task.off-heap.size": 256,
    "managed.size": 256,
    "network": 512,
    "jvm-metaspace.size": 256,
    "jvm-overhead": 256,
}
_LOGGING = """
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.type = CONSOLE
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %p %c{1} %m%n
"""


def missing() -> str:
    """Returns why no cluster can be started here, "" when one can."""
    if shutil.which("java") is None:
        return "Flink needs Java, and none was found"
    if not (TOOLS / "job-server.jar").is_file():
        return "Flink is not set up: run `make flink`"
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
        names = ("rpc", "rest", "jobs", "artifacts", "expansion", "workers")
        self._ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.options = [
            "--runner=PortableRunner",
            f"--job_endpoint={_MASTER}:{self._ports['jobs']}",
            "--environment_type=EXTERNAL",
            f"--environment_config={_POOL}:{self._ports['workers']}",
            f"--parallelism={len(HOSTS)}",
        ]

    def start(self) -> None:
        """Starts everything and waits until it is ready."""
        (self._folder / "config.yaml").write_text(self._configuration())
        (self._folder / "log4j.properties").write_text(_LOGGING)
        entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        self._flink("jobmanager", entry, ["-Xmx512m"], [])
        self._start_hosts()
        job_server = ["-Xmx512m", "-jar", str(TOOLS / "job-server.jar")]
        ports = {"job": "jobs", "artifact": "artifacts", "expansion": "expansion"}
        job_server += [f"--{kind}-port={self._ports[name]}" for kind, name in ports.items()]
        job_server += [f"--job-host={_MASTER}", f"--flink-master={_MASTER}:{self._ports['rest']}"]
        job_server += [f"--artifacts-dir={self._folder / 'artifacts'}"]
        self._run("job-server", [*_JAVA, *job_server])
        self._until(lambda: _connect((_MASTER, self._ports["jobs"])))
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
                self._start_taskmanager(host)

    def _wait_for_hosts(self) -> None:
        self._until(lambda: len(self.ask("/taskmanagers")["taskmanagers"]) == len(HOSTS))
        for host in HOSTS:
            self._until(lambda at=(host, self._ports["workers"]): _connect(at))

    def _start_taskmanager(self, host: str) -> None:
        names = self._folder / f"hosts-{host}"
        names.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n{host} {_POOL}\n")
        heap = _MEMORY["framework.heap.size"] + _MEMORY["task.heap.size"]
        direct = sum(_MEMORY[n] for n in ("framework.off-heap.size", "task.off-heap.size"))
        java = [
            f"-Xmx{heap}m",
            f"-XX:MaxDirectMemorySize={direct + _MEMORY['network']}m",
            f"-Djdk.net.hosts.file={names}",
        ]
        places = [f"-Dtaskmanager.{key}={host}" for key in ("host", "bind-host", "resource-id")]
        entry = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        self._flink(f"taskmanager-{host}", entry, java, places)

    def _flink(self, name: str, entry: str, java: list[str], options: list[str]) -> None:
        logging = f"-Dlog4j.configurationFile={self._folder / 'log4j.properties'}"
        classes = ["-cp", str(TOOLS / "lib" / "*"), entry]
        self._run(name, [*_JAVA, *java, logging, *classes, "-c", str(self._folder), *options])

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

    def _configuration(self) -> str:
        places = ("jobmanager.rpc.address", "jobmanager.bind-host", "rest.address")
        options: dict[str, Any] = dict.fromkeys((*places, "rest.bind-address"), _MASTER)
        options |= {
            "jobmanager.rpc.port": self._ports["rpc"],
            "rest.port": self._ports["rest"],
            "io.tmp.dirs": self._folder,
            "cluster.evenly-spread-out-slots": "true",
            "taskmanager.numberOfTaskSlots": SLOTS,
            "taskmanager.cpu.cores": SLOTS,
            "taskmanager.network.sort-shuffle.min-buffers": 64,
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 3,
            "restart-strategy.fixed-delay.delay": "1 s",
            "heartbeat.interval": 1_000,  # a lost host is missed after two of these
            "taskmanager.memory.process.size": f"{sum(_MEMORY.values())}m",
        }
        for name, size in _MEMORY.items():
            for key in (name,) if name.endswith(".size") else (f"{name}.min", f"{name}.max"):
                options[f"taskmanager.memory.{key}"] = f"{size}m"
        return "".join(f"{key}: {value}\n" for key, value in options.items())


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
