"""Folders in an object store: sent there whole, fetched whole, and never taken by halves.

A store renames nothing, and no folder there is written at once. So `upload` writes
`_MANIFEST.json`, names and sizes of all files, as the last one, and `remove` deletes it first: a
folder without it is not whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Callable
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pathlib import PurePosixPath

from transforms.storage import StoreError
from transforms.storage import StorePath
from transforms.storage import explained
from transforms.storage import files_below
from transforms.storage import get_file
from transforms.storage import put_file

MANIFEST = "_MANIFEST.json"
_THREADS = 16


def upload(folder: Path, target: StorePath, last: str = "") -> None:
    """Copies a folder into a store, `_MANIFEST.json` last.

    What is at the target, for instance of a killed upload, is removed first.

    Args:
        folder: What is copied.
        target: Where it goes.
        last: A file that is written after all others, for those who read no manifests.

    Raises:
        StoreError: The store refuses, or does not hold what was sent.
    """
    remove(target)
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size for path in files_below(folder)
    }
    in_parallel(lambda name: put_file(folder / name, target / name), sizes.keys() - {last})
    if last in sizes:
        put_file(folder / last, target / last)
    stored = {
        PurePosixPath(info.path).relative_to(target.key).as_posix(): info.size
        for info in target.entries(recursive=True)
        if info.is_file
    }
    if stored != sizes:
        wrong = next(iter(sorted(stored.items() ^ sizes.items())))[0]
        raise StoreError(f"`{target / wrong}` is not what was sent; run the same command again.")
    manifest = {"files": sizes, "id": uuid.uuid4().hex}
    (target / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def download(
    source: StorePath, folder: Path, wanted: Callable[[str], bool] = lambda name: True
) -> None:
    """Copies a whole folder out of a store: what its manifest names, and nothing else.

    Args:
        source: What is copied.
        folder: Where it goes; made if it is not there.
        wanted: Says of a file, by its path below the folder, whether it is copied.

    Raises:
        FileNotFoundError: It has no manifest, also because it was removed meanwhile.
        StoreError: The store refuses, or a file is not what the manifest says.
    """
    named = json.loads((source / MANIFEST).read_text())["files"]
    sizes = {name: size for name, size in named.items() if wanted(name)}
    folder.mkdir(parents=True, exist_ok=True)
    in_parallel(lambda name: get_file(source / name, folder / name), sizes)
    for name, size in sizes.items():
        if (folder / name).stat().st_size != size:
            raise StoreError(f"`{source / name}` has not the {size:,} bytes of its manifest.")
    if not (source / MANIFEST).is_file():
        raise FileNotFoundError(f"{source} was removed while it was copied.")


def remove(folder: StorePath) -> None:
    """Deletes everything below a folder, its manifest first: a reader never takes the rest."""
    (folder / MANIFEST).unlink(missing_ok=True)
    if folder.is_dir():
        with explained(folder):
            folder.filesystem.delete_dir(str(folder.key))


def scratch_dir(path: StorePath) -> Path:
    """Returns the folder of this machine that stands for an address, the same one every time.

    It has the same name on all machines, so that what was computed on one is known on another.
    `VITRINE_SCRATCH_DIR` says where it is, the folder of temporary files by default.

    Raises:
        PermissionError: It is there, and is somebody else's.
    """
    root = os.environ.get("VITRINE_SCRATCH_DIR") or tempfile.gettempdir()
    name = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    folder = Path(root, f"vitrine-{name}").absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(
            f"{folder}, where `{path}` is kept on this machine, belongs to another user. Set "
            "VITRINE_SCRATCH_DIR to a folder of your own."
        )
    return folder


def in_parallel(work: Callable[[str], None], names: Iterable[str]) -> None:
    """Calls a function with each name, many at a time; the first error is raised."""
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(work, names))
