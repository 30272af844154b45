"""Version directories on disk."""

from __future__ import annotations

import os
from pathlib import Path

# Relative path, size and time of change of every file.
Fingerprint = tuple[tuple[str, int, int], ...]
LAST_VERSION = 2**63 - 1  # versions are int64 in TF Serving
_MAX_DIGITS = 64  # leading zeros included


def find_versions(base_path: Path) -> dict[int, Path]:
    """Returns the version directories below a base path by their number.

    As in TF Serving a name counts when it is a number that fits into an int64;
    so a push can write to a temporary name and rename. Leading zeros make no
    other number: `7` is taken where `007` is beside it. TF Serving takes a sign
    and blanks as well, which nothing here writes.

    Raises:
        OSError: the base path cannot be listed.
    """
    with os.scandir(base_path) as entries:
        numbered = sorted(
            entry.name for entry in entries if is_version(entry.name) and entry.is_dir()
        )
    return {int(name): Path(base_path, name) for name in numbered}


def is_version(name: str) -> bool:
    """Returns whether a name is that of a version."""
    digits = name.isascii() and name.isdigit() and len(name) <= _MAX_DIGITS
    return digits and int(name) <= LAST_VERSION


def fingerprint(directory: Path) -> Fingerprint:
    """Returns what changes when a file below the directory is written.

    Raises:
        OSError: the directory went away meanwhile.
    """
    found = []
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            status = os.stat(path)
            found.append((os.path.relpath(path, directory), status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))


def check_below(path: Path, root: Path) -> None:
    """Checks that a path and every file below it lie below a root.

    Symbolic links are resolved, so that none leads out.

    Raises:
        ValueError: something lies outside; the message names it.
    """
    real_root = Path(os.path.realpath(root))

    def check(candidate: str) -> None:
        if not Path(os.path.realpath(candidate)).is_relative_to(real_root):
            raise ValueError(
                f"Expected everything below the root for reloading, {real_root}. Received: "
                f"{candidate}, which lies outside."
            )

    check(str(path))
    for folder, folders, names in os.walk(path):
        for name in folders + names:
            check(os.path.join(folder, name))
