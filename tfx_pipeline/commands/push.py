"""`vitrine push`: shows and moves the labels `stable` and `canary`, and copies versions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import click

from tfx_pipeline.commands.options import which_stage
from tfx_pipeline.commands.options import which_versions

if TYPE_CHECKING:
    from models.families import Stage


@click.group()
def push() -> None:
    """Show what is served, promote the canary, or go back to what was stable before."""


@push.command("status")
@which_versions
@which_stage
def status_command(run_dir: Path | None, base_path: Path | None, stage: Stage) -> None:
    """Say which versions there are, and which of them are stable and canary."""
    from serving.publishing.labels import read_labels
    from serving.publishing.versions import pushed_versions
    from serving.publishing.versions import withdrawn_versions

    push_dir = _push_dir(run_dir, base_path, stage)
    labels = read_labels(push_dir)
    if labels is None:
        raise ValueError(f"Nothing was pushed to {push_dir} yet.")
    numbers = {
        "versions": pushed_versions(push_dir),
        "earlier": labels.earlier,
        "withdrawn": sorted({*labels.withdrawn, *withdrawn_versions(push_dir)}),
    }
    click.echo(f"{labels.model} in {push_dir}\nlabels     {labels}")
    for name, found in numbers.items():
        click.echo(f"{name:<10} {', '.join(map(str, found)) or 'none'}")


@push.command("promote")
@which_versions
@which_stage
@click.option("--version", type=click.IntRange(min=0), help="A version, instead of the canary.")
def promote_command(
    run_dir: Path | None, base_path: Path | None, stage: Stage, version: int | None
) -> None:
    """Make the canary the stable version; the one before stays for a rollback."""
    from serving.publishing.label_moves import promote

    push_dir = _push_dir(run_dir, base_path, stage)
    click.echo(_describe(push_dir, promote(push_dir, version)))


@push.command("rollback")
@which_versions
@which_stage
@click.option("--canary", is_flag=True, help="The canary alone, to the stable version.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Seconds that servers have to follow, before what was withdrawn is set aside.",
)
def rollback_command(
    run_dir: Path | None, base_path: Path | None, stage: Stage, canary: bool, wait: float
) -> None:
    """Give the labels back to the version that was stable before.

    What loses its label is renamed once servers have followed, so that none that starts later
    tries to load it.
    """
    from serving.publishing.label_moves import rollback

    push_dir = _push_dir(run_dir, base_path, stage)
    move = rollback(push_dir, canary)
    click.echo(_describe(push_dir, move))
    if move.withdrawn:
        click.echo(_set_aside(push_dir, move.withdrawn, wait))


@push.command("follow")
@which_versions
@which_stage
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="The copy.")
@click.option("--once", is_flag=True, help="Bring the copy up to date, and end.")
def follow_command(
    run_dir: Path | None, base_path: Path | None, stage: Stage, folder: Path, once: bool
) -> None:
    """Keep a copy of versions in an object store, for a TF Serving on this machine.

    Only whole versions come; labels move after them. Start TF Serving on the copy, with
    `push.serving_path` set to where it sees it.
    """
    import threading

    from serving.publishing.follow import Follower
    from serving.publishing.follow import follow
    from transforms.storage import is_store

    push_dir = _push_dir(run_dir, base_path, stage)
    if not is_store(push_dir):
        raise ValueError(f"`{push_dir}` is in no object store: TF Serving can watch it itself.")
    follower = Follower(push_dir, folder)
    came = follower.update()
    click.echo(f"copied  {', '.join(map(str, came)) or 'nothing new'} to {folder}")
    if not once:
        follow([follower], threading.Event())


def _set_aside(push_dir: Path, versions: list[int], wait: float) -> str:
    """Waits, renames what was withdrawn, and says so."""
    from serving.publishing.label_moves import set_withdrawn_aside
    from serving.publishing.lock import locked
    from serving.publishing.versions import WITHDRAWN
    from serving.publishing.versions import WITHDRAWN_MANIFEST
    from transforms.storage import is_store
    from transforms.stored_folders import MANIFEST

    named = ", ".join(map(str, versions))
    if wait:
        click.echo(
            f"wait    {wait:g} s for servers to follow, then {named} is set aside; the next push "
            "does it if you stop this now"
        )
        time.sleep(wait)
    with locked(push_dir):
        aside = set_withdrawn_aside(push_dir)
    lines = [f"renamed {push_dir / str(number)} to {WITHDRAWN}{number}" for number in aside]
    if is_store(push_dir):
        manifests = f"{MANIFEST} to {WITHDRAWN_MANIFEST}"
        lines = [f"renamed {push_dir / str(number)}/{manifests}" for number in aside]
    return "\n".join([*lines, "        `vitrine push promote --version` brings one back"])


def _push_dir(run_dir: Path | None, base_path: Path | None, stage: Stage) -> Path:
    from tfx_pipeline.commands.finished_run import find_run
    from transforms.storage import place

    return base_path or place(find_run(run_dir).push_dir_of(stage))


def _describe(push_dir: Path, move: Any) -> str:
    """Returns the labels before and after, and the file that says so."""
    from serving.publishing.models_config import MODELS_CONFIG

    dropped = sorted(move.before.versions.keys() - move.after.versions.keys())
    lines = [f"before  {move.before}", f"after   {move.after}"]
    lines += [f"        {label} is dropped: its version is gone" for label in dropped]
    lines.append(f"wrote   {push_dir / MODELS_CONFIG}")
    stable, canary = (move.after.versions.get(name) for name in ("stable", "canary"))
    if None not in (stable, canary) and stable != canary:
        lines.append(
            f"note    servers take all labels or none: while one cannot load version {canary}, its "
            f"labels stay as they were ({move.before}). `vitrine push rollback --canary` takes "
            "back a broken canary, and stable moves with it"
        )
    return "\n".join(lines)
