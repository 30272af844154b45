"""`vitrine serve`: the laptop's stand-in for TF Serving."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from serving.local_server.config import ServerConfig
from serving.local_server.errors import StartError
from serving.local_server.main import serve
from serving.local_server.port import is_taken
from serving.publishing.follow import Follower
from serving.publishing.follow import follow
from serving.publishing.models_config import MODELS_CONFIG
from tfx_pipeline.commands.finished_run import find_run
from tfx_pipeline.commands.finished_run import refusal
from tfx_pipeline.config_file import set_key
from transforms.base_config import explain
from transforms.storage import is_store
from transforms.storage import place
from transforms.stored_folders import scratch_dir


def serve_run(
    run_dir: Path | None,
    base_path: Path | None,
    name: str | None,
    address: dict[str, Any],
    overrides: tuple[str, ...],
    labels: tuple[str, ...] = (),
) -> None:
    """Serves pushed versions until a signal comes; those in an object store from a copy here.

    Args:
        run_dir: The run of which the models of every stage are served; the newest one when None.
        base_path: Directory of integer version directories, instead of a run's.
        name: What requests call the model; the run's name, or `recommender`, when None. A
            model of another stage than retrieval has the stage behind it.
        address: `host`, `port`, `rest_port` and `insecure` of `ServerConfig`.
        overrides: `key=value` pairs of `ServerConfig`, e.g. `batching.timeout_micros=500`.
        labels: `label=version` pairs; those that the push and `vitrine push` keep beside
            the versions when there are none.

    Raises:
        ValueError: There is no such run, an option is wrong, or the server cannot start.
    """
    if base_path is None:
        run = find_run(run_dir)
        named = run.model_copy(update={"name": name or run.name})
        models = {named.model_name(stage): place(run.push_dir_of(stage)) for stage in run.stages}
        if refused := refusal(run):
            click.echo(refused, err=True)
    else:
        models = {name or "recommender": base_path}
    followers = [Follower(path, scratch_dir(path)) for path in models.values() if is_store(path)]
    here = {str(follower.push_dir): follower.folder for follower in followers}
    models = {model: here.get(str(path), path) for model, path in models.items()}
    config = server_config(models, address, overrides, labels)
    if is_taken(config.host, config.port):
        raise ValueError(
            f"Port {config.port} of {config.host} is taken. Stop what listens there, or choose "
            "another with `--port`, and tell `vitrine recommend` with `--address`."
        )
    if is_taken(config.rest_host, config.rest_port or 0):
        raise ValueError(
            f"Port {config.rest_port} of {config.rest_host} is taken. Stop what listens there, or "
            "choose another for REST and metrics with `--rest-port`."
        )
    click.echo(
        "This server is for a laptop and for tests; production runs tensorflow/serving. Stop it "
        "with Ctrl-C.",
        err=True,
    )
    for follower in followers:
        click.echo(f"copy    {follower.push_dir} to {follower.folder}", err=True)
        follower.update()
    stop = threading.Event()
    if followers:
        threading.Thread(target=follow, args=(followers, stop), daemon=True).start()
    try:
        serve(config, lambda line: click.echo(line, err=True))
    except StartError as error:
        raise ValueError(str(error)) from error
    finally:
        stop.set()


def server_config(
    base_paths: Mapping[str, Path],
    address: dict[str, Any],
    overrides: tuple[str, ...] = (),
    labels: tuple[str, ...] = (),
) -> ServerConfig:
    """Returns what the server is told.

    Args:
        base_paths: Directories of versions, by what requests call their models.
        address: As of `serve_run`.
        overrides: As of `serve_run`.
        labels: As of `serve_run`, where there is one model.

    Raises:
        ValueError: An option is wrong.
    """
    if labels and len(base_paths) > 1:
        raise ValueError(
            f"`--label` is for one model, and there are {', '.join(base_paths)}: name the "
            "versions of one with `--base-path`."
        )
    given = dict(_label(label) for label in labels)
    models = [
        {"name": name, "base_path": str(path)}
        | ({"labels": given} if labels else {"labels_file": str(path / MODELS_CONFIG)})
        for name, path in base_paths.items()
    ]
    values = {"models": models, "allow_version_labels_for_unavailable_models": True, **address}
    for override in overrides:
        set_key(values, override)
    try:
        return ServerConfig.model_validate(values)
    except ValidationError as error:
        raise ValueError(explain(error, "What the server was told")) from None


def _label(text: str) -> tuple[str, int]:
    label, _, version = text.partition("=")
    if not label or not (version.isascii() and version.isdigit()):
        raise ValueError(f"A label should be given as NAME=VERSION; received `{text}`.")
    return label, int(version)
