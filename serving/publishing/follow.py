"""A copy of a push directory in an object store, kept here for servers to read."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from serving.local_server.disk import find_versions
from serving.publishing.models_config import MODELS_CONFIG
from serving.publishing.serving_files import BATCHING
from serving.publishing.serving_files import MONITORING
from serving.publishing.versions import INCOMING
from serving.publishing.versions import OUTGOING
from serving.publishing.versions import pushed_versions
from transforms.storage import StoreError
from transforms.storage import StorePath
from transforms.storage import replace_text
from transforms.stored_folders import MANIFEST
from transforms.stored_folders import download

POLL_SECONDS = 10.0


class Follower:
    """Keeps a folder in step with a push directory in a store: whole versions, labels, flags.

    Labels move once the versions that they name are here, and what is gone goes last; a server
    that watches the folder therefore sees what it would see in a file system.
    """

    def __init__(self, push_dir: StorePath, folder: Path) -> None:
        """Takes the push directory, and the folder, which is made and belongs to one follower."""
        self.push_dir = push_dir
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.name.startswith((INCOMING, OUTGOING)):
                shutil.rmtree(path)

    def update(self) -> list[int]:
        """Fetches what is new and drops what is gone.

        Returns:
            The versions that came.

        Raises:
            OSError: The disk is full.
            StoreError: The store refuses, or does not answer; what is here stays.
        """
        whole = pushed_versions(str(self.push_dir))
        came = [version for version in whole if self._fetch(version)]
        for name in (BATCHING, MONITORING, MODELS_CONFIG):
            self._copy_text(name)
        for version in find_versions(self.folder).keys() - set(whole):
            self._drop(version)
        return came

    def _fetch(self, version: int) -> bool:
        """Fetches a version unless it is here, and returns whether it came."""
        source, target = self.push_dir / str(version), self.folder / str(version)
        note = self.folder / f".manifest-{version}.json"  # which of that number is here
        try:
            manifest = (source / MANIFEST).read_text()
            if target.is_dir() and note.is_file() and note.read_text() == manifest:
                return False
            incoming = self.folder / f"{INCOMING}{version}"
            shutil.rmtree(incoming, ignore_errors=True)
            download(source, incoming)
        except FileNotFoundError:  # it went while it was fetched
            return False
        if target.is_dir():
            self._drop(version)
        incoming.rename(target)
        replace_text(note, manifest)
        logging.info("Fetched version %d from %s.", version, source)
        return True

    def _copy_text(self, name: Path) -> None:
        source, target = self.push_dir / name.as_posix(), self.folder / name
        try:
            text = source.read_text()
        except FileNotFoundError:
            return
        if not target.is_file() or target.read_text(encoding="utf-8") != text:
            replace_text(target, text)

    def _drop(self, version: int) -> None:
        outgoing = self.folder / f"{OUTGOING}{version}"
        (self.folder / str(version)).rename(outgoing)  # a server never sees half of it
        shutil.rmtree(outgoing)
        logging.info("Version %d went from %s.", version, self.push_dir)


def follow(
    followers: Sequence[Follower], stop: threading.Event, seconds: float = POLL_SECONDS
) -> None:
    """Updates copies until it is stopped; a store that is away for a while is waited for.

    Args:
        followers: The copies.
        stop: Ends it.
        seconds: Time between two looks.
    """
    while not stop.wait(seconds):
        for follower in followers:
            try:
                follower.update()
            except (OSError, StoreError, json.JSONDecodeError) as error:
                logging.warning("The copy of %s stays as it is: %s", follower.push_dir, error)
