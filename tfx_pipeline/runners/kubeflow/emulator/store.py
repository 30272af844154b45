"""The object store of a run: a real one, or a folder that plays one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from transforms.storage import files_below
from transforms.storage import get_file
from transforms.storage import is_store
from transforms.storage import place
from transforms.storage import put_file


@dataclass(frozen=True)
class Store:
    """Uploads and downloads as Kubeflow's launcher does: files, and never empty directories.

    Attributes:
        folder: Plays the store if it is given; addresses are asked otherwise.
    """

    folder: Path | None = None

    def upload(self, local: Path, address: str) -> None:
        """Uploads a file or the files below a directory; nothing if there is neither."""
        target = self._place(address)
        if local.is_file():
            _copy(local, target)
        else:
            for file in files_below(local):
                _copy(file, target / file.relative_to(local))

    def download(self, address: str, local: Path) -> None:
        """Downloads a file or what is below a prefix; nothing where there is neither.

        Raises:
            OSError: A key is both a file and a prefix.
        """
        source = self._place(address)
        files = files_below(source)
        if source.is_file():
            if files:
                raise OSError(f"{address} is a file, and there are files below it.")
            _copy(source, local)
        for file in files:
            _copy(file, local / file.relative_to(source))

    def _place(self, address: str) -> Path:
        if self.folder is None:
            return place(address)
        return self.folder / address.partition("://")[2]


def _copy(source: Path, target: Path) -> None:
    if is_store(target):
        put_file(source, target)
    elif is_store(source):
        get_file(source, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
