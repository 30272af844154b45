"""Locations of components' artifacts on disk."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfx.types import artifact_utils
from tfx.utils import path_utils

from serving.index.embedding.records import split_files

Artifacts = Mapping[str, Sequence[Any]]


def directory(artifacts: Artifacts, key: str) -> Path:
    """Returns the directory of the only artifact under `key`."""
    return Path(artifact_utils.get_single_uri(list(artifacts[key])))


def saved_model(artifacts: Artifacts, key: str) -> Path:
    """Returns the SavedModel in the only artifact of type `Model` under `key`."""
    return Path(path_utils.serving_model_path(str(directory(artifacts, key))))


def record_files(artifacts: Artifacts, key: str, split: str) -> list[str]:
    """Returns the files of one split of the only `Examples` under `key`.

    Raises:
        ValueError: The artifact has no such split.
        FileNotFoundError: The split has no files.
    """
    examples = artifact_utils.get_single_instance(list(artifacts[key]))
    known = artifact_utils.decode_split_names(examples.split_names)
    if split not in known:
        raise ValueError(
            f"The examples at `{examples.uri}` have the splits {known}; expected `{split}` among "
            "them, as the timeline example generator writes it."
        )
    return split_files(artifact_utils.get_split_uri([examples], split))
