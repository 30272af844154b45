"""How Flink's processes are started on this machine, without the scripts that come with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TOOLS = Path(__file__).parents[2] / ".tools" / "flink"
HOSTS = ("127.0.0.1", "127.0.0.2")
SLOTS = 2  # of a TaskManager; enough for the whole job when the other one is gone

LOGGING = """
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.type = CONSOLE
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %p %c{1} %m%n
"""

_OPENED = (  # to Flink and Beam, which look into them
    "java.lang",
    "java.lang.reflect",
    "java.net",
    "java.nio",
    "java.time",
    "java.util",
    "java.util.concurrent",
    "sun.nio.ch",
)
_MEMORY = {  # of a TaskManager, MiB; Flink's scripts would work this out
    "framework.heap.size": 128,
    "task.heap.size": 512,
    "framework.off-heap.size": 128,
    "task.off-heap.size": 256,
    "managed.size": 256,
    "network": 512,
    "jvm-metaspace.size": 256,
    "jvm-overhead": 256,
}
_HEAP = ("framework.heap.size", "task.heap.size")
_DIRECT = ("framework.off-heap.size", "task.off-heap.size", "network")


def java(heap: int = 512) -> list[str]:
    """Returns the start of a command: Java with few threads, soon up, and `heap` MiB."""
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
    return ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *opened, f"-Xmx{heap}m"]


def flink(folder: Path, entry: str) -> list[str]:
    """Returns what follows: one of Flink's programs, with its configuration in `folder`."""
    logging = f"-Dlog4j.configurationFile={folder / 'log4j.properties'}"
    classes = ["-cp", str(TOOLS / "lib" / "*")]
    return [logging, *classes, f"org.apache.flink.runtime.{entry}", "-c", str(folder)]


def jobmanager(folder: Path) -> list[str]:
    """Returns the command of the JobManager."""
    return [*java(), *flink(folder, "entrypoint.StandaloneSessionClusterEntrypoint")]


def taskmanager(folder: Path, host: str, names: Path) -> list[str]:
    """Returns the command of a host's TaskManager, to which `names` is what `/etc/hosts` is."""
    direct = sum(_MEMORY[name] for name in _DIRECT)
    return [
        *java(sum(_MEMORY[name] for name in _HEAP)),
        f"-XX:MaxDirectMemorySize={direct}m",
        f"-Djdk.net.hosts.file={names}",
        *flink(folder, "taskexecutor.TaskManagerRunner"),
        *(f"-Dtaskmanager.{key}={host}" for key in ("host", "bind-host", "resource-id")),
    ]


def configuration(folder: Path, rpc: int, rest: int) -> str:
    """Returns `config.yaml` of a cluster that works in `folder`, with the JobManager's ports."""
    places = ("jobmanager.rpc.address", "jobmanager.bind-host", "rest.address")
    options: dict[str, Any] = dict.fromkeys((*places, "rest.bind-address"), HOSTS[0])
    options |= {
        "jobmanager.rpc.port": rpc,
        "rest.port": rest,
        "io.tmp.dirs": folder,
        "cluster.evenly-spread-out-slots": "true",
        "taskmanager.numberOfTaskSlots": SLOTS,
        "taskmanager.cpu.cores": SLOTS,
        "taskmanager.network.sort-shuffle.min-buffers": 64,
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 3,
        "restart-strategy.fixed-delay.delay": "1 s",
        "pekko.ask.timeout": "120 s",  # starting the hundreds of tasks of a job takes long
        "heartbeat.interval": 1_000,  # ms; a lost host is missed after two of these
        "taskmanager.memory.process.size": f"{sum(_MEMORY.values())}m",
    }
    for name, size in _MEMORY.items():
        for key in (name,) if name.endswith(".size") else (f"{name}.min", f"{name}.max"):
            options[f"taskmanager.memory.{key}"] = f"{size}m"
    return "".join(f"{key}: {value}\n" for key, value in options.items())
