"""TFX artifacts by hand, for executors that are called without a pipeline."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.helpers.examples import write_examples


def artifact(kind: type, uri: Path, number: int = 1) -> Any:
    """Makes an artifact of type `kind` at `uri`, whose directory exists as TFX would have it."""
    uri.mkdir(parents=True, exist_ok=True)
    made = kind()
    made.uri = str(uri)
    made.id = number
    return made


def raw_examples(uri: Path, splits: Mapping[str, list[bytes]], shards: int = 1) -> Any:
    """Writes examples and makes their artifact."""
    from tfx.types import artifact_utils
    from tfx.types import standard_artifacts

    write_examples(uri, splits, shards)
    made = artifact(standard_artifacts.Examples, uri)
    made.split_names = artifact_utils.encode_split_names(sorted(splits))
    return made


def towers_model(uri: Path, **options: Any) -> Any:
    """Saves tiny towers where the Trainer exports and makes the artifact."""
    from tfx.types import standard_artifacts

    from tests.helpers.towers import save_towers

    made = artifact(standard_artifacts.Model, uri)
    save_towers(uri / "Format-Serving", **options)
    return made


def digests(uri: Path) -> dict[str, str]:
    """Returns the hash of each file below a directory by its name."""
    return {
        str(path.relative_to(uri)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in uri.rglob("*")
        if path.is_file()
    }
