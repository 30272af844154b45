"""Versions in a push directory, named by integers as TF Serving wants them.

In a file system a version is renamed into its place, and out of it. An object store renames
nothing: there a version counts while it has its manifest, which is written last and deleted first.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from serving.local_server.disk import LAST_VERSION
from serving.local_server.disk import find_versions
from serving.local_server.disk import is_version
from transforms import stored_folders
from transforms.storage import StorePath
from transforms.storage import is_store
from transforms.storage import place
from transforms.stored_folders import MANIFEST

INCOMING = ".incoming-"  # TF Serving takes no name for a version that is not an integer
OUTGOING = ".outgoing-"
WITHDRAWN = "withdrawn-"  # one that was rolled back, where no server finds it
WITHDRAWN_MANIFEST = "_WITHDRAWN.json"  # in a store: the manifest of one that was rolled back
_COMPLETE = "saved_model.pb"


def pushed_versions(push_dir: str | Path) -> list[int]:
    """Returns the versions in a push directory, oldest first; none if there is no directory."""
    path = place(push_dir)
    stored = is_store(path)
    return sorted(_complete(path)) if stored or path.is_dir() else []


def next_version(base_path: Path) -> int:
    """Returns the number of the next version, above every directory that leaves room for one.

    The last int64 has no successor: a directory of that name is passed over.

    Raises:
        ValueError: The number before the last is taken, too.
    """
    taken = _numbered(base_path).keys() | withdrawn_versions(base_path).keys()
    number = max(taken - {LAST_VERSION}, default=0) + 1
    if number == LAST_VERSION:
        raise ValueError(
            f"No number is left for the next version: {base_path} has a directory {number - 1}. "
            "Rename it to a smaller number, or away."
        )
    return number


def withdrawn_versions(push_dir: str | Path) -> dict[int, Path]:
    """Returns the directories of versions that were set aside, by number."""
    path = place(push_dir)
    stored = is_store(path)
    if stored:
        return {
            number: folder
            for number, folder in _numbered(path).items()
            if (folder / WITHDRAWN_MANIFEST).is_file() and not (folder / MANIFEST).is_file()
        }
    entries = path.glob(f"{WITHDRAWN}*") if path.is_dir() else ()
    found = {entry.name.removeprefix(WITHDRAWN): entry for entry in entries}
    return {int(name): entry for name, entry in found.items() if name.isdecimal()}


def put_in_place(incoming: Path, push_dir: Path, version: int) -> None:
    """Makes a directory a version: renames it, or uploads it with its manifest last."""
    target = push_dir / str(version)
    if is_store(target):
        note = push_dir / f"{INCOMING}{version}"  # of half a version that nobody finishes
        note.write_text("")
        stored_folders.upload(incoming, target)
        note.unlink()
    else:
        incoming.rename(target)


def take_back(incoming: Path, push_dir: Path, version: int) -> None:
    """Undoes `put_in_place`, as if the version had never come."""
    target = push_dir / str(version)
    if is_store(target):
        stored_folders.remove(target)
    else:
        target.rename(incoming)


def set_aside(push_dir: Path, version: int) -> None:
    """Renames a version, so that a server which starts again does not try to load it."""
    folder = push_dir / str(version)
    if is_store(folder):
        _rename_object(folder / MANIFEST, folder / WITHDRAWN_MANIFEST)
    else:
        find_versions(push_dir)[version].rename(push_dir / f"{WITHDRAWN}{version}")


def bring_back(push_dir: Path, version: int) -> None:
    """Gives a version that was set aside its name again; nothing where it was not."""
    withdrawn = withdrawn_versions(push_dir).get(version)
    if withdrawn is None:
        return
    if is_store(withdrawn):
        _rename_object(withdrawn / WITHDRAWN_MANIFEST, withdrawn / MANIFEST)
    elif version not in find_versions(push_dir):
        withdrawn.rename(push_dir / str(version))


def _rename_object(old: StorePath, new: StorePath) -> None:
    new.write_bytes(old.read_bytes())
    old.unlink()


def _numbered(push_dir: Path) -> dict[int, Path]:
    """Returns the directories that are numbered, also halves of versions."""
    stored = is_store(push_dir)
    if not stored:
        return find_versions(push_dir)
    return {int(path.name): path for path in push_dir.iterdir() if is_version(path.name)}


def _complete(push_dir: Path) -> dict[int, Path]:
    mark = MANIFEST if is_store(push_dir) else _COMPLETE
    return {n: path for n, path in _numbered(push_dir).items() if (path / mark).is_file()}


def remove_leftovers(push_dir: Path) -> list[str]:
    """Removes what killed pushes left behind and returns the names."""
    leftovers = sorted(
        entry.name for entry in push_dir.iterdir() if entry.name.startswith((INCOMING, OUTGOING))
    )
    for name in leftovers:
        leftover = push_dir / name
        if is_store(leftover):
            version = leftover.parent / name.rpartition("-")[2]
            if name.startswith(OUTGOING) or not (version / MANIFEST).is_file():
                stored_folders.remove(version)
            leftover.unlink()
        else:
            shutil.rmtree(leftover)
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
        # Renamed or noted first: a server never sees a version with half of its files.
        outgoing, directory = push_dir / f"{OUTGOING}{version}", versions[version]
        if is_store(directory):
            outgoing.write_text("")
            stored_folders.remove(directory)
            outgoing.unlink()
        else:
            directory.rename(outgoing)
            shutil.rmtree(outgoing)
    return old
