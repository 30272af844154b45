"""Finds the index that a command means: of a run, in a version, or by itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.index.files import INDEX
from serving.index.files import INDEX_DIR
from serving.publishing.labels import current_version
from serving.publishing.servable_file import SERVABLE
from tfx_pipeline.commands.finished_run import find_run
from transforms.storage import is_store
from transforms.storage import place

_RUN = "config.yaml"
_EXAMPLES = "artifacts/timeline-example-gen/examples"


@dataclass(frozen=True)
class Place:
    """The directories of an index.

    Attributes:
        index: The index directory.
        version: The servable that it belongs to, if it is in one.
        run_dir: The run that made it, if that is known.
    """

    index: Path
    version: Path | None = None
    run_dir: Path | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that was pushed with the version; nothing without one."""
        path = self.version / "config.json" if self.version else None
        if path is None or not path.is_file():
            return {}
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def section(self, name: str) -> dict[str, Any]:
        """Returns a section of the retrieval stage; nothing where it is not known."""
        found: dict[str, Any] = (self.config.get("retrieval") or {}).get(name, {})
        return found

    def timelines(self) -> list[str]:
        """Returns the record files of the run's test timelines; none where they are gone."""
        if self.run_dir is None:
            return []
        folders = [path for path in (self.run_dir / _EXAMPLES).glob("*/Split-test")]
        numbered = [path for path in folders if path.parent.name.isdecimal()]
        if not numbered:
            return []
        newest = max(numbered, key=lambda path: int(path.parent.name))
        return sorted(str(file) for file in newest.iterdir() if file.is_file())


def find_index(run_dir: Path | None, base_path: Path | None = None) -> Place:
    """Finds an index.

    Args:
        run_dir: The directory of a run, whose newest version is meant; the newest
            run when neither is given.
        base_path: A directory of versions, one version of it, or an index, instead.

    Raises:
        ValueError: There is none.
    """
    if base_path is None:
        return _of_run(run_dir)
    if (base_path / SERVABLE).is_file():
        return _of_version(base_path)
    if (base_path / INDEX).is_file():
        beside = base_path.parent / SERVABLE
        return _of_version(base_path.parent) if beside.is_file() else Place(base_path)
    return newest_version(base_path)


def newest_version(push_dir: Path, run_dir: Path | None = None) -> Place:
    """Returns the newest version of a push directory that was not rolled back.

    Raises:
        ValueError: There is none.
    """
    stored = is_store(push_dir)
    if stored:
        raise ValueError(
            f"`{push_dir}` is in an object store, and indexes are looked at and updated in a "
            "folder. Copy its newest version to one of this machine, and name that with "
            "`--base-path`."
        )
    version = current_version(push_dir)
    if version is None:
        raise ValueError(
            f"`{push_dir}` holds no pushed version and no index. Name a run with `--run`, or one "
            "of these with `--base-path`; `vitrine run CONFIG` makes a run."
        )
    return _of_version(push_dir / str(version), run_dir)


def _of_run(run_dir: Path | None) -> Place:
    config = find_run(run_dir)
    return newest_version(place(config.push_dir_of("retrieval")), run_dir or place(config.run_dir))


def _of_version(version: Path, run_dir: Path | None = None) -> Place:
    above = version.absolute().parent.parent.parent  # <run>/pushed/retrieval/<version>
    if run_dir is None and (above / _RUN).is_file():
        run_dir = above
    return Place(version / INDEX_DIR, version, run_dir)
