"""`vitrine recommend`: ask a server, print titles."""

from __future__ import annotations

from pathlib import Path

import click

from serving.recommend import format_recommendations
from serving.recommend import recommend_for_user
from tfx_pipeline.commands.finished_run import find_run


def recommend_to(
    user: str, k: int, run_dir: Path | None, address: str, name: str | None, timeout: float
) -> str:
    """Asks a server for recommendations for a user of a run's event log.

    Args:
        user: The user's id in the log.
        k: How many recommendations.
        run_dir: The run that pushed what is served; the newest one when None.
        address: `host:port` of the server.
        name: What the server calls the model; the run's name when None.
        timeout: Seconds to wait for a server that is still starting or loading,
            and then for its answer.

    Returns:
        The user's recent history beside the recommendations.

    Raises:
        ValueError: There is no such run, or the log does not know the user.
        ConnectionError: The server cannot be reached or refuses the request.
    """
    config = find_run(run_dir)
    answer = recommend_for_user(
        user,
        k,
        Path(config.log_dir),
        Path(config.serving_base_path),
        address=address,
        model=name or config.name,
        wait=timeout,
        say=lambda line: click.echo(line, err=True),
        timeout=timeout,
    )
    return format_recommendations(answer)
