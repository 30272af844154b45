"""`vitrine push`: gives the labels `stable` and `canary` to other versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tfx_pipeline.commands.options import which_versions


@click.group()
def push() -> None:
    """Promote the canary of a model, or go back to what was stable before."""


@push.command("promote")
@which_versions
@click.option("--version", type=click.IntRange(min=0), help="A version, instead of the canary.")
def promote_command(run_dir: Path | None, base_path: Path | None, version: int | None) -> None:
    """Make the canary the stable version; the one before stays for a rollback."""
    from tfx_pipeline.components.pusher.label_moves import promote

    push_dir = _push_dir(run_dir, base_path)
    click.echo(_describe(push_dir, promote(push_dir, version)))


@push.command("rollback")
@which_versions
@click.option("--canary", is_flag=True, help="The canary alone, to the stable version.")
def rollback_command(run_dir: Path | None, base_path: Path | None, canary: bool) -> None:
    """Give the labels back to the version that was stable before."""
    from tfx_pipeline.components.pusher.label_moves import rollback

    push_dir = _push_dir(run_dir, base_path)
    click.echo(_describe(push_dir, rollback(push_dir, canary)))


def _push_dir(run_dir: Path | None, base_path: Path | None) -> Path:
    from tfx_pipeline.commands.finished_run import find_run

    return base_path or Path(find_run(run_dir).serving_base_path)


def _describe(push_dir: Path, move: Any) -> str:
    """Returns the labels before and after, and the file that says so."""
    from tfx_pipeline.components.pusher.models_config import MODELS_CONFIG

    dropped = sorted(move.before.versions.keys() - move.after.versions.keys())
    lines = [f"before  {move.before}", f"after   {move.after}"]
    lines += [f"        {label} is dropped: its version is gone" for label in dropped]
    return "\n".join([*lines, f"wrote   {push_dir / MODELS_CONFIG}"])
