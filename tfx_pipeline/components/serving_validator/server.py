"""A server process that is gone when the block is left, however it is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

from serving.child_process import ending_with_parent
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig
from tfx_pipeline.components.serving_validator.config import LOCAL

_HOST = "127.0.0.1"
_TAIL = 20  # lines of the log that a message quotes


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, patience: float = 10.0
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command for as long as the block; SIGTERM ends it, and SIGKILL if it must.

    It ends with this process, too, should that be killed.

    Args:
        command: Program and arguments.
        log: File that takes what it writes.
        patience: Seconds between the two signals.

    Raises:
        RuntimeError: The program cannot be started.
    """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "1", **os.environ}
    with log.open("wb") as file:
        try:
            process = subprocess.Popen(
                ending_with_parent(command),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment,
            )
        except OSError as error:
            raise RuntimeError(
                f"Cannot start {command[0]}, which `serving_validation.server` names: {error}."
            ) from error
    try:
        yield process
    finally:
        process.terminate()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        finally:
            process.kill()  # nothing, once it has ended
            process.wait()


@contextlib.contextmanager
def serving(
    server: str, name: str, base_path: Path, log: Path
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Runs the local server, or a `tensorflow_model_server`, over the versions of one model.

    Args:
        server: `local` or the path of the binary.
        name: What requests call the model.
        base_path: Directory of its versions.
        log: File that takes what the server writes.

    Yields:
        `host:port` of the server, which may not listen yet, and its process.

    Raises:
        RuntimeError: The program cannot be started.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as scratch:
        if server == LOCAL:
            command = _local_command(name, base_path, port, Path(scratch, "server.json"))
        else:
            command = _binary_command(server, name, base_path, port)
        with running(command, log) as process:
            yield f"{_HOST}:{port}", process


def ending(process: subprocess.Popen[bytes], log: Path) -> str:
    """Says how a server ended, with the last lines that it wrote; nothing while it runs."""
    code = process.poll()
    if code is None:
        return ""
    how = f"by the signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return f"The server ended {how}. Its last lines:\n" + "\n".join(lines[-_TAIL:])


def free_port() -> int:
    """Returns a port of the loopback interface that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _local_command(name: str, base_path: Path, port: int, file: Path) -> list[str]:
    config = ServerConfig(
        models=(ModelConfig(name=name, base_path=base_path),),
        host=_HOST,
        port=port,
        metrics_port=None,
        drain_seconds=0.0,
    )
    file.write_text(json.dumps(config.model_dump(mode="json")), encoding="utf-8")
    return [sys.executable, "-m", "serving.local_server", str(file)]


def _binary_command(binary: str, name: str, base_path: Path, port: int) -> list[str]:
    return [
        binary,
        f"--port={port}",
        "--rest_api_port=0",
        f"--model_name={name}",
        f"--model_base_path={base_path}",
        "--grpc_max_threads=16",
        "--max_num_load_retries=0",
    ]
