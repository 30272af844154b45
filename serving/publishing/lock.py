"""The lock of a push directory: one push, promotion or rollback at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from transforms.storage import StoreError
from transforms.storage import StorePath
from transforms.storage import is_store

LOCK = ".lock"
LEASE = 3600  # seconds in which nobody takes the lock of a process of another machine for dead


@contextlib.contextmanager
def locked(push_dir: Path) -> Iterator[None]:
    """Holds the push directory; the lock of a killed process is free at once.

    In an object store that of one on another machine is free after `LEASE`.

    Raises:
        RuntimeError: Another process holds it, or its lock is a symbolic link.
    """
    with _locked_store(push_dir) if is_store(push_dir) else _locked_folder(push_dir):
        yield


@contextlib.contextmanager
def _locked_folder(push_dir: Path) -> Iterator[None]:
    # Nothing is ever written to it, and what a link leads to is none of ours to hold.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(push_dir / LOCK, flags, 0o644)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise RuntimeError(
            f"{push_dir / LOCK} is a symbolic link, which no push makes. See who put it there, "
            "remove it, and push again."
        ) from error
    with os.fdopen(descriptor):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RuntimeError(
                f"Another push into {push_dir} is running; start this one again when it is over."
            ) from error
        yield


@contextlib.contextmanager
def _locked_store(push_dir: StorePath) -> Iterator[None]:
    """Holds a push directory in a store, which has no locks.

    Everybody writes an object of its own and then looks for others: whoever comes second sees
    the first one's. Of two at the same moment both may withdraw, and never both go on.
    """
    folder = push_dir / LOCK
    mine = folder / f"{socket.gethostname()}_{os.getpid()}_{int(time.time())}_{uuid.uuid4().hex}"
    mine.write_text("")
    try:
        for other in folder.iterdir():
            if other.name == mine.name:
                continue
            host, process, since = _holder(other.name)
            if _is_dead(host, process, since):
                other.unlink(missing_ok=True)
                continue
            until = time.strftime("%H:%M", time.localtime(since + LEASE))
            raise RuntimeError(
                f"Another push into {push_dir} is running, process {process} on {host}; start this "
                f"one again when it is over. If it was killed, delete {other}, or wait until "
                f"{until}."
            )
        yield
    finally:
        try:
            mine.unlink(missing_ok=True)
        except StoreError as error:  # what went wrong before says more
            logging.warning("The lock %s stays: %s", mine, error)


def _holder(name: str) -> tuple[str, int, int]:
    """Returns host, process and time of a lock; one of a strange name never was held."""
    try:
        host, process, since, _ = name.rsplit("_", 3)
        return host, int(process), int(since)
    except ValueError:
        return name, 0, 0


def _is_dead(host: str, process: int, since: int) -> bool:
    if host == socket.gethostname():
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it lives, and is another user's
    return time.time() > since + LEASE
