"""A run whose directory is in an object store: it works in a folder here, which is mirrored there.

TFX writes artifacts through TensorFlow's file systems, which have no `s3://` without a package of
their own, and ML Metadata's SQLite is a file. So a run works in a folder of this machine, as on
Kubeflow, and after each component what is new goes to the store: artifacts first, then the
metadata that names them, in one object. Whoever starts the run again, here or on another
machine, fetches them and goes on; what is in the store is always a state to go on from.
"""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import tempfile
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from pathlib import PurePosixPath

from absl import logging

from transforms.storage import StoreError
from transforms.storage import StorePath
from transforms.storage import files_below
from transforms.storage import get_file
from transforms.storage import is_store
from transforms.storage import place
from transforms.storage import put_file
from transforms.stored_folders import in_parallel
from transforms.stored_folders import scratch_dir

DATABASE = "metadata.sqlite"
ARTIFACTS = "artifacts"
LOG = "run.log"
_BESIDE = ("config.yaml", "metrics.json", LOG)
_LOCK = ".lock"
_SAVED = ".saved"  # which metadata of the store this folder goes on from
_LIVE = 2  # `ml_metadata.proto.Artifact.LIVE`


class RunMirror:
    """Keeps a folder and the directory of a run in a store alike.

    Attributes:
        folder: Where the run works.
    """

    def __init__(self, run_dir: StorePath, folder: Path | None = None) -> None:
        """Takes the directory in the store, and the folder; `scratch_dir` says it by default."""
        self._run_dir = run_dir
        self.folder = folder or scratch_dir(run_dir)
        self._known: dict[str, int] = {}  # sizes of the artifacts' files in the store
        self._stale: set[str] = set()  # files there that no metadata names: of a killed `save`

    def fetch(self) -> None:
        """Makes the folder what the store holds, unless it goes on from that already.

        Raises:
            StoreError: The store refuses, or does not answer.
        """
        metadata, note = self._run_dir / DATABASE, self.folder / _SAVED
        state = metadata.etag() if metadata.is_file() else ""
        fetched = self.folder / f".{DATABASE}"
        fetched.unlink(missing_ok=True)
        if state:
            get_file(metadata, fetched)
            _move_addresses(fetched, str(self._run_dir), str(self.folder))
        stored = self._stored()
        live = _live(fetched, self.folder)
        self._known = _below(live.keys(), stored)
        self._stale = stored.keys() - self._known.keys()
        if note.is_file() and note.read_text() == state:
            fetched.unlink(missing_ok=True)
            return
        note.unlink(missing_ok=True)  # should this be killed
        mine = _live(self.folder / DATABASE, self.folder)
        same = {uri for uri, changed in live.items() if mine.get(uri) == changed}
        everything = self._here()
        here = _below(same, everything)
        for name in everything.keys() - here.keys():
            (self.folder / name).unlink()  # of a run that the store does not know
        missing = [name for name, size in self._known.items() if here.get(name) != size]
        logging.info("Fetching %d files of %s", len(missing), self._run_dir)
        in_parallel(lambda name: get_file(self._run_dir / name, self.folder / name), missing)
        (self.folder / DATABASE).unlink(missing_ok=True)
        if state:
            fetched.replace(self.folder / DATABASE)
        note.write_text(state)

    def save(self) -> None:
        """Brings to the store what is new here.

        Raises:
            StoreError: The store refuses, or does not answer; it keeps the state before.
        """
        if not (self.folder / DATABASE).is_file():
            return
        in_parallel(lambda name: (self._run_dir / name).unlink(missing_ok=True), self._stale)
        self._stale = set()
        metadata = self._run_dir / DATABASE
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch, DATABASE)
            with contextlib.closing(sqlite3.connect(self.folder / DATABASE)) as source:
                with contextlib.closing(sqlite3.connect(copy)) as target:
                    source.backup(target)
            here = _below(_live(copy, self.folder).keys(), self._here())
            new = [name for name, size in here.items() if self._known.get(name) != size]
            in_parallel(lambda name: put_file(self.folder / name, self._run_dir / name), new)
            self._known |= here
            _move_addresses(copy, str(self.folder), str(self._run_dir))
            put_file(copy, metadata)
        (self.folder / _SAVED).write_text(metadata.etag())

    def save_log(self) -> None:
        """Brings the log to the store; what it tells of may be why that fails."""
        try:
            if (self.folder / LOG).is_file():
                put_file(self.folder / LOG, self._run_dir / LOG)
        except StoreError as error:
            logging.warning("The log stays in %s: %s", self.folder / LOG, error)

    def _here(self) -> dict[str, int]:
        found = files_below(self.folder / ARTIFACTS)
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in found}

    def _stored(self) -> dict[str, int]:
        infos = (self._run_dir / ARTIFACTS).entries(recursive=True)
        below = len(str(self._run_dir.key)) + 1
        return {info.path[below:]: info.size for info in infos if info.is_file}


@contextlib.contextmanager
def mirrored(run_dir: str | Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Yields the folder in which a run works, and what keeps its state, for after each component.

    Raises:
        RuntimeError: A run of it is going on here.
        StoreError: The store refuses, or does not answer.
    """
    path = place(run_dir)
    if is_store(path):
        mirror = RunMirror(path)
        with _held(mirror.folder) as held:
            if not held:
                raise RuntimeError(
                    f"A run of `{path}` is going on here, in {mirror.folder}; start this one "
                    "when it is over."
                )
            mirror.fetch()
            try:
                yield mirror.folder, mirror.save
            finally:
                mirror.save_log()
    else:
        # Absolute: Arrow takes a relative path with a space or an accent for a malformed URI.
        yield path.absolute(), lambda: None


def local_run_dir(run_dir: str | Path) -> Path:
    """Returns a folder with all that a run wrote but its pushes: its own, or a copy.

    Raises:
        StoreError: The store refuses, or does not answer.
    """
    path = place(run_dir)
    if not is_store(path):
        return path
    mirror = RunMirror(path)
    with _held(mirror.folder) as held:
        if held:  # while it is a run's, nothing is newer
            mirror.fetch()
            for name in _BESIDE:
                if (path / name).is_file():
                    get_file(path / name, mirror.folder / name)
    return mirror.folder


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Yields whether nobody else on this machine works in a folder."""
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def _move_addresses(database: Path, old: str, new: str) -> None:
    """Says in ML Metadata's tables that artifacts are elsewhere; their times stay, as in the cache.

    The cache knows an artifact by its whole message, the time of its last change included,
    which ML Metadata's own interface would set.
    """
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "UPDATE Artifact SET uri = ? || substr(uri, ?) WHERE substr(uri, 1, ?) = ?",
            (new + "/", len(old) + 2, len(old) + 1, old + "/"),
        )


def _live(database: Path, folder: Path) -> dict[str, int]:
    """Returns the artifacts that are finished: their paths below a folder, and when they changed.

    Args:
        database: The metadata; it may not be there.
        folder: What addresses in it begin with.
    """
    if not database.is_file():
        return {}
    query = "SELECT uri, last_update_time_since_epoch FROM Artifact WHERE state = ?"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(query, (_LIVE,)).fetchall()
    prefix = f"{folder}/"
    return {uri[len(prefix) :]: changed for uri, changed in rows if uri.startswith(prefix)}


def _below(artifacts: Collection[str], sizes: Mapping[str, int]) -> dict[str, int]:
    """Returns, of files and their sizes, those of some artifacts."""

    def is_below(name: str) -> bool:
        return any(parent.as_posix() in artifacts for parent in PurePosixPath(name).parents)

    return {name: size for name, size in sizes.items() if is_below(name)}
