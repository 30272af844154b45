"""Versions in a push directory, named by integers as TF Serving wants them."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from serving.local_server.disk import LAST_VERSION
from serving.local_server.disk import find_versions

INCOMING = ".incoming-"  # TF Serving takes no name for a version that is not an integer
OUTGOING = ".outgoing-"
WITHDRAWN = "withdrawn-"  # one that was rolled back, where no server finds it
_COMPLETE = "saved_model.pb"


def pushed_versions(push_dir: str | Path) -> list[int]:
    """Returns the versions in a push directory, oldest first; none if there is no directory."""
    if "://" in str(push_dir):
        raise ValueError(
            f"`push_dir` should be a directory of a mounted file system, where a version can be "
            f"renamed into place at once; received `{push_dir}`. Mount the bucket or a volume."
        )
    path = Path(push_dir)
    if not path.is_dir():
        return []
    return sorted(_complete(path))


def next_version(base_path: Path) -> int:
    """Returns the number of the next version, above every directory that leaves room for one.

    The last int64 has no successor: a directory of that name is passed over.

    Raises:
        ValueError: The number before the last is taken, too.
    """
    taken = find_versions(base_path).keys() | withdrawn_versions(base_path).keys()
    number = max(taken - {LAST_VERSION}, default=0) + 1
    if number == LAST_VERSION:
        raise ValueError(
            f"No number is left for the next version: {base_path} has a directory {number - 1}. "
            "Rename it to a smaller number, or away."
        )
    return number


def withdrawn_versions(push_dir: str | Path) -> dict[int, Path]:
    """Returns the directories of versions that were set aside, by number."""
    path = Path(push_dir)
    entries = path.glob(f"{WITHDRAWN}*") if path.is_dir() else ()
    found = {entry.name.removeprefix(WITHDRAWN): entry for entry in entries}
    return {int(name): entry for name, entry in found.items() if name.isdecimal()}


def set_aside(push_dir: Path, version: int) -> None:
    """Renames a version, so that a server which starts again does not try to load it."""
    find_versions(push_dir)[version].rename(push_dir / f"{WITHDRAWN}{version}")


def bring_back(push_dir: Path, version: int) -> None:
    """Gives a version that was set aside its name again; nothing where it was not."""
    withdrawn = withdrawn_versions(push_dir).get(version)
    if withdrawn is not None and version not in find_versions(push_dir):
        withdrawn.rename(push_dir / str(version))


def _complete(push_dir: Path) -> dict[int, Path]:
    found = find_versions(push_dir)
    return {number: path for number, path in found.items() if (path / _COMPLETE).is_file()}


def remove_leftovers(push_dir: Path) -> list[str]:
    """Removes what killed pushes left behind and returns the names."""
    leftovers = sorted(
        entry.name for entry in push_dir.iterdir() if entry.name.startswith((INCOMING, OUTGOING))
    )
    for name in leftovers:
        shutil.rmtree(push_dir / name)
    return leftovers


def remove_old(push_dir: Path, keep: int, protected: Collection[int]) -> list[int]:
    """Removes the oldest versions, also of those that were set aside.

    Args:
        push_dir: The push directory.
        keep: How many of the newest stay; 0 keeps all.
        protected: Versions that stay in any case.

    Returns:
        The versions that are gone.
    """
    versions = withdrawn_versions(push_dir) | _complete(push_dir)
    old = [v for v in sorted(versions)[: -max(keep, 1)] if v not in protected] if keep else []
    for version in old:
        # Renamed first: a server never sees a version with half of its files.
        outgoing = push_dir / f"{OUTGOING}{version}"
        versions[version].rename(outgoing)
        shutil.rmtree(outgoing)
    return old
