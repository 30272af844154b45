"""What happens between a new version's arrival and the departure of old ones."""

from __future__ import annotations

from pathlib import Path

from tfx_pipeline.components.pusher.config import PusherConfig
from tfx_pipeline.components.pusher.label_moves import introduce
from tfx_pipeline.components.pusher.label_moves import set_withdrawn_aside
from tfx_pipeline.components.pusher.labels import read_labels
from tfx_pipeline.components.pusher.serving_files import write_serving_files


def announce_version(push_dir: Path, version: int, model: str, config: PusherConfig) -> set[int]:
    """Tells servers of a version that is in its place; for `publish`.

    Versions that were withdrawn are set aside first, if nobody did it yet.

    Args:
        push_dir: The push directory, locked.
        version: The new version.
        model: What requests call the model.
        config: How versions are pushed.

    Returns:
        The versions that have to stay: those with a label, those that had one
        until now, for a server moves it only once the new version is loaded,
        and those that a rollback may go back to.

    Raises:
        OSError: A file cannot be written; the old one stays.
        ValueError: `models.config` cannot be read.
    """
    set_withdrawn_aside(push_dir)
    old = read_labels(push_dir)
    write_serving_files(push_dir, config)
    new = introduce(push_dir, version, model, config.serving_path or str(push_dir.resolve()))
    until_now = old.versions.values() if old else ()
    return {*new.versions.values(), *until_now, *new.earlier[::-1][: config.rollbacks]}
