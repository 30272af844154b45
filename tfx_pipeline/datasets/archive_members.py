"""The entries of zip and tar archives, read without trusting what their headers say."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from typing import Any

# What tarfile reads of headers: names and attributes may have any length there, and a compressed
# archive of some kilobytes can hold one of gigabytes.
_HEADER_BYTES = 1 << 20
_HEADER_BYTES_A_MEMBER = 2 << 10  # more for each that was read
_TRAILING_BYTES = 16 << 20  # padding behind the last member
_BLOCK = 1 << 20
COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}


@dataclass(frozen=True)
class Member:
    """One entry of an archive, whatever its kind."""

    name: str
    size: int
    kind: str  # `file`, `directory`, or what makes it refused
    open: Callable[[], IO[bytes]]


@contextmanager
def open_members(archive: Path) -> Iterator[Iterator[Member]]:
    """Opens an archive and yields its entries in order.

    Once all entries of a tar archive are read, its end and the checksum of a
    compressed stream are checked; those of a zip member are while it is read.

    Raises:
        ValueError: The file is no archive.
        OSError, EOFError, zipfile.BadZipFile, tarfile.TarError and others: It is
            damaged; from the entries, too.
    """
    with archive.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"PK") and zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as box:
            yield (_zip_member(box, info) for info in box.infolist())
        return
    opener = next((o for magic, o in COMPRESSIONS.items() if start.startswith(magic)), open)
    with opener(archive, "rb") as stream:
        bounded = _Bounded(stream)
        try:
            tar = tarfile.TarFile(fileobj=bounded)  # type: ignore[arg-type]
        except tarfile.ReadError as error:
            raise ValueError(
                f"`{archive}` is not a whole zip or tar archive (it starts with {start!r}: {error})"
                ". Fetch it again; a page that asks for a login is often saved in its place."
            ) from error
        with tar:
            yield _tar_members(tar, bounded)


class _Bounded:
    """A stream for tarfile that reads no more for headers than it is allowed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left: int | None = _HEADER_BYTES
        self._last = b""

    def read(self, size: int) -> bytes:
        """Returns `size` bytes, or fewer at the end."""
        if self._left is not None:
            if not 0 <= size <= self._left:
                raise tarfile.ReadError("its headers are too large")
            self._left -= size
        self._last = self._stream.read(size)
        return self._last

    def seek(self, offset: int) -> int:
        """Goes to an offset; a compressed stream is read up to it."""
        if self._left is not None and offset < self._stream.tell():
            raise tarfile.ReadError("a header leads back to where the archive was read already")
        return self._stream.seek(offset)

    def tell(self) -> int:
        """Returns the offset."""
        return self._stream.tell()

    def allow_more(self) -> None:
        """Allows another member's headers."""
        assert self._left is not None
        self._left += _HEADER_BYTES_A_MEMBER

    def finish(self) -> None:
        """Checks the end of the archive and of the stream; contents may be read from now on.

        Raises:
            tarfile.ReadError: No empty block ends the archive: it was cut, or a header is
                damaged, which tarfile takes for the end.
        """
        if len(self._last) < tarfile.BLOCKSIZE or self._last.strip(b"\0"):
            raise tarfile.ReadError("a header is damaged, or the end is missing")
        trailing = 0
        while block := self._stream.read(_BLOCK):  # a checksum comes last
            trailing += len(block)
            if trailing > _TRAILING_BYTES:
                raise tarfile.ReadError(f"{trailing:,} bytes and more follow its end")
        self._left = None


def _zip_member(box: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    mode = info.external_attr >> 16
    kind = "directory" if info.is_dir() else "file"
    if info.flag_bits & 0x1:
        kind = "encrypted"
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "a link or a device"
    return Member(info.orig_filename, info.file_size, kind, lambda: box.open(info))


def _tar_members(tar: tarfile.TarFile, bounded: _Bounded) -> Iterator[Member]:
    for info in tar:
        bounded.allow_more()
        yield _tar_member(tar, info)
    bounded.finish()


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    kind = "file" if info.isreg() else "directory" if info.isdir() else "a link or a device"
    if info.issparse():
        kind = "sparse"

    def opened() -> IO[bytes]:
        file = tar.extractfile(info)
        assert file is not None, "only regular files are opened"
        return file

    return Member(info.name, info.size, kind, opened)
