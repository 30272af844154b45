"""The object store of a run: a real one, or a folder that plays one."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from transforms.arrow import pafs


class Store:
    """Uploads and downloads as Kubeflow's launcher does: files, and never empty directories."""

    def __init__(self, filesystem: pafs.FileSystem):
        """Makes a store of a file system whose paths are `bucket/key`."""
        self._remote = filesystem
        self._here = pafs.LocalFileSystem()
        self._has_folders = not isinstance(filesystem, pafs.S3FileSystem)

    def upload(self, local: Path, address: str) -> None:
        """Uploads a file or the files below a directory; nothing if there is neither."""
        files = [local] if local.is_file() else sorted(p for p in local.rglob("*") if p.is_file())
        for file in files:
            relative = "" if file == local else f"/{file.relative_to(local).as_posix()}"
            target = _path(address) + relative
            if self._has_folders:
                self._remote.create_dir(target.rpartition("/")[0])
            pafs.copy_files(str(file), target, self._here, self._remote)

    def download(self, address: str, local: Path) -> None:
        """Downloads a file or what is below a prefix; nothing where there is neither.

        Raises:
            OSError: A key is both a file and a prefix.
        """
        source = _path(address)
        below = pafs.FileSelector(source, recursive=True, allow_not_found=True)
        is_file = self._remote.get_file_info(source).type == pafs.FileType.File
        files = {} if is_file and self._has_folders else self._files(below, source)
        if is_file and files:
            raise OSError(f"{address} is a file, and there are files below it.")
        for path, relative in ({source: ""} if is_file else files).items():
            target = local / relative if relative else local
            target.parent.mkdir(parents=True, exist_ok=True)
            pafs.copy_files(path, str(target), self._remote, self._here)

    def _files(self, below: pafs.FileSelector, source: str) -> dict[str, str]:
        found = self._remote.get_file_info(below)
        return {
            one.path: one.path[len(source) :].lstrip("/")
            for one in found
            if one.type == pafs.FileType.File
        }


def open_store(address: str, folder: Path) -> Store:
    """Opens the store of an address.

    Args:
        address: Where artifacts go, `s3://bucket/prefix` or the like.
        folder: What plays the store, unless `AWS_ENDPOINT_URL` names an S3 server.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if address.startswith("s3://") and endpoint:
        url = urlsplit(endpoint)
        region = os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
        return Store(
            pafs.S3FileSystem(endpoint_override=url.netloc, scheme=url.scheme, region=region)
        )
    folder.mkdir(parents=True, exist_ok=True)
    return Store(pafs.SubTreeFileSystem(str(folder.absolute()), pafs.LocalFileSystem()))


def _path(address: str) -> str:
    return address.partition("://")[2].rstrip("/")
