"""Addresses of files: paths of this machine, or of an object store such as `s3://bucket/logs`.

`place` is the one door: it returns a `Path` for what is here and on mounted file systems, which
then behaves as it always did, and for other addresses a `StorePath`, which has the methods of
`Path` that this project needs. Arrow's file systems do the work, retries with backoff included.

Credentials come from where the tools of each store look for them (for S3 the environment,
`~/.aws`, the role of the machine), never from a configuration; `AWS_ENDPOINT_URL` names another
server than Amazon's, and `AWS_MAX_ATTEMPTS` how often a request is tried.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from pathlib import PurePosixPath
from typing import Any
from typing import TypeGuard
from typing import cast

from transforms.arrow import pa
from transforms.arrow import pafs

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://+(.*)", re.DOTALL)
_ATTEMPTS = 6  # over some fifteen seconds
_GOOGLE_PATIENCE = timedelta(seconds=30)  # by itself it tries for a quarter of an hour
_BLOCK = 1 << 22
_DENIED = re.compile(
    r"ACCESS_DENIED|Forbidden|\b403\b|INVALID_ACCESS_KEY|SIGNATURE|UNRECOGNIZED_CLIENT"
    r"|INVALID_CLIENT_TOKEN|EXPIRED|PERMISSION_DENIED|UNAUTHENTICATED|OAuth2 access token",
    re.I,
)
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|Bucket '.*' not found|bucket does not exist", re.I)
_BUSY = re.compile(r"SLOW_DOWN|\b503\b|SERVICE_UNAVAILABLE|THROTTL|\b429\b", re.I)


class StoreError(RuntimeError):
    """An object store refuses or does not answer; the message says what to do.

    It is no OSError, which callers take for a file that is missing or damaged.
    """


@dataclass(frozen=True, order=True)
class StorePath:
    """Address of a file or folder in an object store.

    It has the methods of `pathlib.Path` that are used here, and stands where `Path` is written;
    what needs a path of this machine (`open`, `os`) refuses it with a TypeError.

    Attributes:
        scheme: `s3`, `gs` or another one that Arrow knows.
        key: The bucket, and the name within it.
    """

    scheme: str
    key: PurePosixPath

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __truediv__(self, other: str | PurePosixPath) -> StorePath:
        return StorePath(self.scheme, self.key / other)

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.name

    @property
    def suffix(self) -> str:
        """The last part's ending, such as `.parquet`."""
        return self.key.suffix

    @property
    def parent(self) -> StorePath:
        """The folder that it is in."""
        return StorePath(self.scheme, self.key.parent)

    def relative_to(self, other: StorePath) -> PurePosixPath:
        """Returns its path below a folder."""
        return self.key.relative_to(other.key)

    def absolute(self) -> StorePath:
        """Returns itself, as `resolve` does."""
        return self

    resolve = absolute

    @property
    def filesystem(self) -> pafs.FileSystem:
        """Arrow's file system of the bucket."""
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        attempts = int(os.environ.get("AWS_MAX_ATTEMPTS", _ATTEMPTS))
        with explained(self):
            return _filesystem(self.scheme, self.key.parts[0], endpoint, attempts)

    def exists(self) -> bool:
        """Returns whether there is an object, or one below it."""
        return self._info().type != pafs.FileType.NotFound

    def is_file(self) -> bool:
        """Returns whether there is an object."""
        return bool(self._info().is_file)

    def is_dir(self) -> bool:
        """Returns whether there are objects below it."""
        return self._info().type == pafs.FileType.Directory

    def iterdir(self) -> Iterator[StorePath]:
        """Yields what is in a folder; nothing where there is none."""
        yield from (StorePath(self.scheme, PurePosixPath(one.path)) for one in self.entries())

    def entries(self, recursive: bool = False) -> list[pafs.FileInfo]:
        """Returns Arrow's notes of what is in a folder: paths, sizes, times of change."""
        selector = pafs.FileSelector(str(self.key), allow_not_found=True, recursive=recursive)
        with explained(self):
            found = list(self.filesystem.get_file_info(selector))
        if not found:
            self.exists()  # raises where there is no bucket either
        return found

    def open(self, mode: str = "rb") -> Any:
        """Opens an object for reading anywhere in it, as a `pyarrow.NativeFile`."""
        if mode != "rb":
            raise ValueError(f"An object is opened to be read; received the mode `{mode}`.")
        with explained(self):
            return self.filesystem.open_input_file(str(self.key))

    def etag(self) -> str:
        """Returns what the store says of an object's content; "" where it says nothing."""
        with self.open() as file, explained(self):
            return bytes((file.metadata() or {}).get("ETag", b"")).decode()

    def read_bytes(self) -> bytes:
        """Returns the content of an object."""
        with explained(self), self.filesystem.open_input_stream(str(self.key)) as stream:
            return bytes(stream.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        """Returns the content of an object as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Writes an object; a reader sees all of it or what was there before."""
        with explained(self), self.filesystem.open_output_stream(str(self.key)) as sink:
            sink.write(data)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Writes an object as text."""
        self.write_bytes(text.encode(encoding))

    def unlink(self, missing_ok: bool = False) -> None:
        """Deletes an object."""
        if missing_ok and not self.is_file():
            return
        with explained(self):
            self.filesystem.delete_file(str(self.key))

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Does nothing: folders come with what is in them."""

    def _info(self) -> pafs.FileInfo:
        with explained(self):
            found = self.filesystem.get_file_info(str(self.key))
            bucket = self.key.parts[0]
            if found.type == pafs.FileType.NotFound and len(self.key.parts) > 1:
                if self.filesystem.get_file_info(bucket).type == pafs.FileType.NotFound:
                    raise OSError(f"Bucket '{bucket}' not found")
        return found


def place(address: str | Path) -> Path:
    """Returns where an address is: a `Path`, or a `StorePath` in its stead.

    Raises:
        ValueError: It has a scheme, but names no bucket.
    """
    found = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if found is None:
        return Path(address) if isinstance(address, str) else address
    scheme, key = found[1], PurePosixPath(found[2].strip("/"))
    if scheme == "file":
        return Path("/", key)
    if not key.parts:
        raise ValueError(f"`{address}` names no bucket; write `{scheme}://BUCKET/FOLDER`.")
    return cast(Path, StorePath(scheme, key))


def is_store(path: Any) -> TypeGuard[StorePath]:
    """Returns whether what `place` returned is in an object store."""
    return isinstance(path, StorePath)


def files_below(folder: Path) -> list[Path]:
    """Returns all files below a folder, sorted by path; none where there is no folder."""
    if not is_store(folder):
        return sorted(path for path in folder.rglob("*") if path.is_file())
    infos = folder.entries(recursive=True)
    found = sorted(PurePosixPath(info.path) for info in infos if info.is_file)
    return [cast(Path, StorePath(folder.scheme, key)) for key in found]


def replace_text(path: Path, text: str) -> None:
    """Writes a file aside, flushes it and renames it: a reader never sees half of it.

    Raises:
        OSError: It cannot be written; what was there before stays.
    """
    if is_store(path):
        path.write_text(text, encoding="utf-8")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def put_file(source: Path, target: StorePath) -> None:
    """Copies a file into a store."""
    with source.open("rb") as file, explained(target):
        with target.filesystem.open_output_stream(str(target.key)) as sink:
            shutil.copyfileobj(file, sink, _BLOCK)


def get_file(source: StorePath, target: Path) -> None:
    """Copies a file out of a store; its folder is made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with explained(source), source.filesystem.open_input_stream(str(source.key)) as stream:
        with target.open("wb") as file:
            shutil.copyfileobj(stream, file, _BLOCK)


@functools.lru_cache
def _filesystem(scheme: str, bucket: str, endpoint: str | None, attempts: int) -> pafs.FileSystem:
    """Makes the file system of a bucket once for as long as the process runs."""
    if scheme in ("gs", "gcs"):
        return pafs.GcsFileSystem(retry_time_limit=_GOOGLE_PATIENCE)
    if scheme != "s3":
        try:
            return pafs.FileSystem.from_uri(f"{scheme}://{bucket}")[0]
        except pa.ArrowInvalid as error:
            raise ValueError(f"`{scheme}://` is no address that Arrow knows: {error}.") from None
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    region = named or (None if endpoint else pafs.resolve_s3_region(bucket))
    return pafs.S3FileSystem(
        endpoint_override=endpoint,
        region=region,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=attempts),
    )


@contextlib.contextmanager
def explained(path: StorePath) -> Iterator[None]:
    """Says in a line what a store's error means and what to do."""
    try:
        yield
    except FileNotFoundError:
        path.exists()  # raises where there is no bucket either
        raise FileNotFoundError(f"There is no `{path}`.") from None
    except OSError as error:
        raise _explain(path, str(error)) from None


def _explain(path: StorePath, text: str) -> StoreError:
    bucket = path.key.parts[0]
    said = re.sub(r"'[^']*'", "''", text)  # without names, which may look like a status
    if _NO_BUCKET.search(said):
        return StoreError(
            f"There is no bucket `{bucket}`, which `{path}` names. Make it, or mend the address."
        )
    if _DENIED.search(said):
        return StoreError(
            f"The store refuses `{path}` to these credentials, or there are none: {text} Give "
            "them as the store's own tools take them (for S3 AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, a profile in ~/.aws, or the role of the machine; for Google "
            "`gcloud auth application-default login` or a service account), with the "
            f"right to list, read and write the bucket `{bucket}`."
        )
    if _BUSY.search(said):
        return StoreError(
            f"The store is too busy for `{path}`, however often it was asked: {text} Run the same "
            "command later, or set AWS_MAX_ATTEMPTS higher."
        )
    return StoreError(
        f"The store did not answer for `{path}`: {text} See that it can be reached and that "
        "AWS_ENDPOINT_URL, if it is set, names it; then run the same command again."
    )
