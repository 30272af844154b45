"""`vitrine demo`: the main job from end to end, with an answer on the terminal."""

from __future__ import annotations

import time
from pathlib import Path

import click

from serving.local_server.port import is_taken
from tfx_pipeline.commands.run import execute
from tfx_pipeline.commands.run import summarise
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config_file import load_config
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.registry import prepare

MOVIELENS = "movielens_1m_demo"
SHOP = "shop_demo"
USERS_SHOWN = 2
HOST = "127.0.0.1"
PATIENCE = 60.0  # seconds for an answer, on a machine that does other things as well


def run_demo(port: int) -> None:
    """Prepares data, runs the pipeline, serves what it pushed and asks for recommendations.

    Args:
        port: gRPC port of the server, which stops when the demo ends.

    Raises:
        ValueError: The port is taken, which is found out before anything runs.
        RuntimeError: A component failed, or the gate refused the model.
    """
    if is_taken(HOST, port):
        raise ValueError(
            f"Port {port} is taken, and the demo serves on it at its end. Stop what listens "
            "there, or choose another with `make demo DEMO_PORT=...` or `vitrine demo --port "
            "...`; 0 takes a free one."
        )
    started = time.time()
    config = _prepare()
    click.secho(f"\nRunning the pipeline `{config.name}` on {config.log_dir}", bold=True)
    metrics, seconds, cached = execute(config)
    click.echo(summarise(config, metrics, seconds, cached))
    if not metrics["gate"]["blessed"]:
        raise RuntimeError(f"Nothing was pushed: {'; '.join(metrics['gate']['failures'])}")
    _serve_and_ask(config, port)
    click.secho(f"\nThe demo took {time.time() - started:.0f} s. Serve it again with:", bold=True)
    click.echo(
        f"  .venv/bin/vitrine serve --run {config.run_dir}\n"
        f"  .venv/bin/vitrine recommend --run {config.run_dir} --user 3 -k 10"
    )


def _prepare() -> PipelineConfig:
    """Makes the event log of MovieLens-1M, or of the simulated shop, and says which."""
    config = load_config(MOVIELENS)
    if (Path(config.log_dir) / "manifest.json").is_file():
        click.secho(f"Data: MovieLens-1M, prepared already in {config.log_dir}", bold=True)
        return config
    try:
        manifest = prepare("movielens-1m", config.log_dir)
    except (OSError, ValueError) as error:
        click.secho("Data: the simulated shop, because MovieLens-1M is not to be had:", bold=True)
        click.echo(f"  {error}")
        config = load_config(SHOP)
        if not (Path(config.log_dir) / "manifest.json").is_file():
            prepare("shop", config.log_dir)
        return config
    click.secho(f"Data: MovieLens-1M, {manifest.events:,} ratings", bold=True)
    click.echo(f"  from {manifest.source}; order of equal times: {manifest.tie_order}")
    return config


def _serve_and_ask(config: PipelineConfig, port: int) -> None:
    """Starts the local server and asks it through the client library."""
    from serving.local_server.config import ModelConfig
    from serving.local_server.config import ServerConfig
    from serving.local_server.server import LocalServer
    from tfx_pipeline.commands.recommend import format_recommendations
    from tfx_pipeline.commands.recommend import recommend_for_user

    log, base_path = Path(config.log_dir), Path(config.push_dir_of("retrieval"))
    model = ModelConfig(name=config.name, base_path=base_path)
    settings = ServerConfig(models=(model,), host=HOST, port=port, rest_port=None)
    with LocalServer(settings) as server:
        click.secho(f"\nAsking {server.address} over gRPC", bold=True)
        for user in _some_users(log):
            answer = recommend_for_user(
                user,
                10,
                log,
                base_path,
                address=server.address,
                model=config.name,
                timeout=PATIENCE,
            )
            click.echo(f"\n{format_recommendations(answer)}")


def _some_users(log: Path) -> list[str]:
    """Returns the first few users of the log's users table."""
    users = EventLog(log).read("users", ["user_id"])
    return users["user_id"].slice(0, USERS_SHOWN).to_pylist()
