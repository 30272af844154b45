"""Writes a version aside and puts it into its place: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from serving.pickles import refuse_pickles
from serving.publishing.lock import locked
from serving.publishing.servable_file import SERVABLE
from serving.publishing.servable_file import read_servable
from serving.publishing.versions import INCOMING
from serving.publishing.versions import WITHDRAWN_MANIFEST
from serving.publishing.versions import next_version
from serving.publishing.versions import pushed_versions
from serving.publishing.versions import put_in_place
from serving.publishing.versions import remove_leftovers
from serving.publishing.versions import remove_old
from serving.publishing.versions import take_back
from transforms.storage import StoreError
from transforms.storage import is_store
from transforms.storage import place
from transforms.stored_folders import MANIFEST

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def publish(
    push_dir: str | Path,
    source: Path,
    complete: Callable[[Path], None],
    keep: int = 0,
    protected: Collection[int] = (),
    announce: Callable[[int], Collection[int]] = lambda _: (),
) -> int:
    """Copies a servable into the push directory as its newest version.

    The copy is written under a name that no server takes for a version, on
    the same file system, checked, flushed to the disk, and renamed in one step.
    For an object store it is made ready here, and uploaded with its manifest last.

    Args:
        push_dir: Directory of all versions; made if it is not there.
        source: The servable.
        complete: Called with the copy before it is checked; adds what else
            belongs to a version.
        keep: How many of the newest versions stay; 0 keeps all.
        protected: Versions that stay in any case.
        announce: Called with the new version once it is in its place and
            before old ones go; returns more versions that stay.

    Returns:
        The number of the new version, above every other (but see `next_version`).

    Raises:
        FileNotFoundError: The servable lacks a file that its `servable.json` requires.
        ValueError: Its `servable.json` cannot be read.
        PickledFileError: One of its files is a pickle.
        OSError: The disk is full or the copy is damaged. What was served
            before is untouched and nothing is left behind.
        RuntimeError: Another push into the same directory is running.
        StoreError: The object store refuses, or does not answer.
    """
    served = pushed_versions(push_dir)
    _require(source)
    refuse_pickles(source)
    target = place(push_dir)
    target.mkdir(parents=True, exist_ok=True)
    with locked(target), _beside(target) as scratch:
        for name in remove_leftovers(target):
            logging.warning("Removed %s, which a killed push had left.", target / name)
        incoming = scratch / f"{INCOMING}{os.getpid()}"
        try:
            shutil.copytree(source, incoming)
            complete(incoming)
            _check(source, incoming)
            _flush(incoming)
            version = next_version(target)
            put_in_place(incoming, target, version)
            try:
                named = announce(version)
            except BaseException:
                take_back(incoming, target, version)
                raise
        except (OSError, shutil.Error) as error:
            raise _explain(error, target, scratch, source, served) from error
        except StoreError as error:
            raise StoreError(f"Nothing was pushed. {error} {_kept(served)}") from error
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        if not is_store(target):
            _flush_entry(target)
        removed = remove_old(target, keep, {*protected, *named})
        logging.info("Pushed version %d to %s; removed %s.", version, target, removed or "none")
    return version


@contextlib.contextmanager
def _beside(push_dir: Path) -> Iterator[Path]:
    """Returns where a version is made ready: in its file system, or here for an object store."""
    if not is_store(push_dir):
        yield push_dir
        return
    with tempfile.TemporaryDirectory(prefix="vitrine-push-") as scratch:
        yield Path(scratch)


def missing_files(directory: Path) -> list[str]:
    """Returns the files that a whole version has, by its `servable.json`, and this one has not.

    One in a store has its manifest, too, also after it was withdrawn.

    Raises:
        ValueError: `servable.json` cannot be read.
    """
    manifests = (MANIFEST, WITHDRAWN_MANIFEST) if is_store(directory) else ()
    if manifests and not any((directory / name).is_file() for name in manifests):
        return [MANIFEST]
    try:
        required = read_servable(directory).required
    except FileNotFoundError:
        return [SERVABLE]
    return [name for name in required if not (directory / name).is_file()]


def _require(source: Path) -> None:
    """Raises when a file is missing, before anything is written."""
    missing = missing_files(source)
    if missing:
        raise FileNotFoundError(
            f"The servable {source} lacks {', '.join(missing)}, so it is not pushed. The component "
            "that made it writes complete ones; run it again."
        )


def _check(source: Path, copy: Path) -> None:
    """Raises when a file of the copy is missing or shorter than its source."""
    for file in source.rglob("*"):
        copied = copy / file.relative_to(source)
        if file.is_file() and (
            not copied.is_file() or copied.stat().st_size != file.stat().st_size
        ):
            raise OSError(errno.EIO, f"{copied.relative_to(copy)} was not copied whole")


def _flush(directory: Path) -> None:
    """Flushes files first and then directories, so that a crash loses no entry."""
    for root, _, files in os.walk(directory, topdown=False):
        for name in files:
            _flush_entry(Path(root, name))
        _flush_entry(Path(root))


def _flush_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(
    error: OSError, push_dir: Path, scratch: Path, source: Path, served: Sequence[int]
) -> OSError:
    """Returns an error that says what was pushed, what failed and what is still served."""
    size = sum(file.stat().st_size for file in source.rglob("*") if file.is_file()) / 2**20
    free = shutil.disk_usage(scratch).free / 2**20
    full = error.errno in _FULL or any(f"[Errno {number}]" in str(error) for number in _FULL)
    mend = "Free space and run again." if full else "Mend the cause and run again."
    where = push_dir if scratch == push_dir else f"{push_dir} by way of {scratch}"
    return OSError(
        error.errno or errno.EIO,
        f"The push of {size:.1f} MiB into {where} ({free:.0f} MiB free) failed: {error}. "
        f"{_kept(served)} {mend}",
    )


def _kept(served: Sequence[int]) -> str:
    return f"Version {served[-1]} is still served, whole." if served else "Nothing was served yet."
