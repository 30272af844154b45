"""`vitrine serve`: the laptop's stand-in for TF Serving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from serving.local_server.config import ServerConfig
from serving.local_server.errors import StartError
from serving.local_server.main import serve
from tfx_pipeline.config import set_key


def serve_versions(
    base_path: Path, name: str, host: str, port: int, overrides: tuple[str, ...]
) -> None:
    """Serves the pushed versions below a directory until a signal comes.

    Args:
        base_path: Directory of integer version directories.
        name: What requests call the model.
        host: Address to listen on.
        port: gRPC port.
        overrides: `key=value` pairs of `ServerConfig`, e.g. `batching.timeout_micros=500`.

    Raises:
        ValueError: An option is wrong, or the server cannot start.
    """
    values: dict[str, Any] = {
        "models": [{"name": name, "base_path": str(base_path)}],
        "host": host,
        "port": port,
    }
    for override in overrides:
        set_key(values, override)
    config = ServerConfig.model_validate(values)
    click.echo(
        f"Serving `{name}` from {base_path} on {host}:{port} (gRPC). This server is for a laptop "
        "and for tests; production runs tensorflow/serving. Stop it with Ctrl-C.",
        err=True,
    )
    try:
        serve(config)
    except StartError as error:
        raise ValueError(str(error)) from error
