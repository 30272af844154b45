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
from serving.local_server.config import ServerConfig
from serving.publishing.models_config import MODELS_CONFIG
from serving.publishing.serving_files import BATCHING
from serving.publishing.serving_files import server_flags
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
                f"Cannot start {command[0]}, which `<stage>.serving_validation.server` names: "
                f"{error}."
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
    server: str, push_dir: Path, log: Path
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Runs the local server, or a `tensorflow_model_server`, as a push directory says.

    Args:
        server: `local` or the path of the binary.
        push_dir: Versions, and beside them the files that servers are started with.
        log: File that takes what the server writes.

    Yields:
        Address of the server, which may not listen yet, and its process.

    Raises:
        RuntimeError: The program cannot be started.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if server == LOCAL:
            port = free_port()
            address = f"{_HOST}:{port}"
            command = _local_command(push_dir, port, Path(scratch, "server.json"))
        else:
            socket_path = Path(scratch, "grpc.sock")
            address = f"unix:{socket_path}"
            command = binary_command(server, push_dir, socket_path)
        with running(command, log) as process:
            yield address, process


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


def _local_command(push_dir: Path, port: int, file: Path) -> list[str]:
    config = ServerConfig(
        models_config_file=push_dir / MODELS_CONFIG,
        batching_parameters_file=push_dir / BATCHING,
        allow_version_labels_for_unavailable_models=True,  # as the flags of TF Serving
        host=_HOST,
        port=port,
        rest_port=None,
        drain_seconds=0.0,
    )
    file.write_text(json.dumps(config.model_dump(mode="json")), encoding="utf-8")
    return [sys.executable, "-m", "serving.local_server", str(file)]


def binary_command(binary: str, push_dir: Path, socket_path: Path) -> list[str]:
    """Returns the command line of a `tensorflow_model_server` that only this machine can ask.

    A port would be open on every interface. With port 0 and a socket there is none.
    """
    return [
        binary,
        "--port=0",
        f"--grpc_socket_path={socket_path}",
        "--rest_api_port=0",
        *server_flags(push_dir),
    ]
