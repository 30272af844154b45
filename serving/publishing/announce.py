"""Announcement of a new version, before old ones go."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from serving.publishing.config import PusherConfig
from serving.publishing.label_moves import introduce
from serving.publishing.label_moves import set_withdrawn_aside
from serving.publishing.labels import read_labels
from serving.publishing.labels import write_labels
from serving.publishing.lock import locked
from serving.publishing.serving_files import write_serving_files


def announce_again(push_dir: Path, config: PusherConfig) -> None:
    """Writes what servers are told once more, for the versions that are there.

    Raises:
        OSError: A file cannot be written; the old one stays.
        RuntimeError: A push is running.
        ValueError: `models.config` cannot be read.
    """
    with locked(push_dir):
        write_serving_files(push_dir, config)
        labels = read_labels(push_dir)
        if labels is not None:
            write_labels(push_dir, dataclasses.replace(labels, base_path=_seen(push_dir, config)))


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
    new = introduce(push_dir, version, model, _seen(push_dir, config))
    until_now = old.versions.values() if old else ()
    return {*new.versions.values(), *until_now, *new.earlier[::-1][: config.rollbacks]}


def _seen(push_dir: Path, config: PusherConfig) -> str:
    """Returns the push directory as servers see it."""
    return config.serving_path or str(push_dir.resolve())
