"""`vitrine serve`: the laptop's stand-in for TF Serving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from serving.local_server.config import ServerConfig
from serving.local_server.errors import StartError
from serving.local_server.main import serve
from tfx_pipeline.commands.finished_run import find_run
from tfx_pipeline.config import set_key


def serve_run(
    run_dir: Path | None,
    base_path: Path | None,
    name: str | None,
    address: dict[str, Any],
    overrides: tuple[str, ...],
) -> None:
    """Serves pushed versions until a signal comes.

    Args:
        run_dir: The run whose versions are served; the newest one when None.
        base_path: Directory of integer version directories, instead of a run's.
        name: What requests call the model; the run's name when None.
        address: `host`, `port` and `insecure` of `ServerConfig`.
        overrides: `key=value` pairs of `ServerConfig`, e.g. `batching.timeout_micros=500`.

    Raises:
        ValueError: There is no such run, an option is wrong, or the server cannot start.
    """
    if base_path is None:
        run = find_run(run_dir)
        base_path, name = Path(run.serving_base_path), name or run.name
    model = {"name": name or "recommender", "base_path": str(base_path)}
    values: dict[str, Any] = {"models": [model], **address}
    for override in overrides:
        set_key(values, override)
    config = ServerConfig.model_validate(values)
    click.echo(
        f"Serving `{model['name']}` from {base_path} on {config.host}:{config.port} (gRPC). "
        "This server is for a laptop and for tests; production runs tensorflow/serving. "
        "Stop it with Ctrl-C.",
        err=True,
    )
    try:
        serve(config)
    except StartError as error:
        raise ValueError(str(error)) from error
