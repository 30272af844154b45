"""`vitrine serve`: the laptop's stand-in for TF Serving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from serving.local_server.config import ServerConfig
from serving.local_server.errors import StartError
from serving.local_server.main import serve
from serving.local_server.port import is_taken
from tfx_pipeline.commands.finished_run import find_run
from tfx_pipeline.config import set_key
from transforms.base_config import explain


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
    config = _configure({"models": [model], **address}, overrides)
    if is_taken(config.host, config.port):
        raise ValueError(
            f"Port {config.port} of {config.host} is taken. Stop what listens there, or choose "
            "another with `--port`, and tell `vitrine recommend` with `--address`."
        )
    click.echo(
        "This server is for a laptop and for tests; production runs tensorflow/serving. Stop it "
        "with Ctrl-C.",
        err=True,
    )
    try:
        serve(config, lambda line: click.echo(line, err=True))
    except StartError as error:
        raise ValueError(str(error)) from error


def _configure(values: dict[str, Any], overrides: tuple[str, ...]) -> ServerConfig:
    for override in overrides:
        set_key(values, override)
    try:
        return ServerConfig.model_validate(values)
    except ValidationError as error:
        raise ValueError(explain(error, "What the server was told")) from None
