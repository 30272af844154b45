"""One push: a version that is published, announced, and that others make room for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from serving.publishing.announce import announce_version
from serving.publishing.config import PusherConfig
from serving.publishing.models_config import named_versions
from serving.publishing.publish import publish


def push(
    push_dir: Path,
    servable: Path,
    complete: Callable[[Path], None],
    model: str,
    config: PusherConfig,
) -> int:
    """Publishes a servable as `config` says.

    Args:
        push_dir: Directory of all versions.
        servable: The servable.
        complete: Called with the copy, the push directory locked.
        model: What requests call the model.
        config: Which versions stay, and what servers are told.

    Returns:
        The number of the new version.

    Raises:
        FileNotFoundError: The servable is not complete.
        OSError: The disk is full; the served version stays whole.
        RuntimeError: Another push is running.
        ValueError: A model configuration file cannot be read.
    """
    protected = set(config.protected_versions)
    if config.models_config:
        protected |= named_versions(config.models_config, model, push_dir, config.serving_path)
    return publish(
        push_dir,
        servable,
        complete,
        keep=config.keep_versions,
        protected=protected,
        announce=lambda version: announce_version(push_dir, version, model, config),
    )
