"""Unpacks zip and tar archives that nobody vouches for."""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pathlib import PurePosixPath
from typing import IO

MAX_MEMBER_BYTES = 8 << 30
MAX_TOTAL_BYTES = 32 << 30
MAX_MEMBERS = 2_000_000
_BLOCK = 1 << 20
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
)


@dataclass(frozen=True)
class _Member:
    """One entry of an archive, whatever its kind."""

    name: str
    size: int
    kind: str  # `file`, `directory`, or what makes it refused
    open: Callable[[], IO[bytes]]


def extract(
    archive: str | Path,
    target: str | Path,
    only: Sequence[str] | None = None,
    max_member_bytes: int = MAX_MEMBER_BYTES,
    max_total_bytes: int = MAX_TOTAL_BYTES,
) -> Path:
    """Unpacks a zip or tar archive (also compressed) into a new directory.

    All members are checked before the first byte is written, also those that
    are not wanted: an archive with one bad member is not trusted with the
    others. What is unpacked goes to a temporary directory beside the target,
    which is renamed at the end, so a failure leaves nothing behind.

    Args:
        archive: The archive.
        target: Directory to be made; it may not exist.
        only: Names of the members to unpack, as paths in the archive; all by
            default.
        max_member_bytes: A larger member is refused.
        max_total_bytes: A larger sum of all members is refused.

    Returns:
        The target.

    Raises:
        FileExistsError: If the target exists.
        FileNotFoundError: If the archive does not exist.
        ValueError: If the file is no archive or a damaged one, a member lies
            outside the target, is a link or a device, is encrypted or too
            large, or a wanted member is missing.
    """
    archive, target = Path(archive), Path(target)
    if target.exists():
        raise FileExistsError(f"`{target}` exists already; archives are unpacked to a new place.")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with _members(archive) as members:
            checked = _check(members, archive, max_member_bytes, max_total_bytes)
            missing = sorted(set(only or ()) - set(checked))
            if missing:
                raise ValueError(
                    f"`{archive}` has no member {missing}; it has {sorted(checked)[:10]}."
                )
            out = Path(work, "out")
            out.mkdir()
            for name in checked if only is None else only:
                _copy(checked[name], Path(out, name))
        out.rename(target)
    except _DAMAGE as error:
        raise ValueError(
            f"`{archive}` is damaged or incomplete ({error}). Fetch it again."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    """Opens an archive and yields its entries in order."""
    if not archive.is_file():
        raise FileNotFoundError(f"`{archive}` is not a file; expected a zip or tar archive.")
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as box:
            yield (_zip_member(box, info) for info in box.infolist())
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            yield (_tar_member(tar, info) for info in tar)
    else:
        with archive.open("rb") as file:
            start = file.read(8)
        raise ValueError(
            f"`{archive}` is not a whole zip or tar archive (it starts with {start!r}). "
            f"Fetch it again; a page that asks for a login is often saved in its place."
        )


def _zip_member(box: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16
    kind = "directory" if info.is_dir() else "file"
    if info.flag_bits & 0x1:
        kind = "encrypted"
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "a link or a device"
    return _Member(info.orig_filename, info.file_size, kind, lambda: box.open(info))


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    kind = "file" if info.isreg() else "directory" if info.isdir() else "a link or a device"

    def opened() -> IO[bytes]:
        file = tar.extractfile(info)
        assert file is not None, "only regular files are opened"
        return file

    return _Member(info.name, info.size, kind, opened)


def _check(
    members: Iterator[_Member], archive: Path, max_member_bytes: int, max_total_bytes: int
) -> dict[str, _Member]:
    """Returns the files of an archive by name, or raises on the first bad member."""
    files: dict[str, _Member] = {}
    total = 0
    for number, member in enumerate(members):
        _check_name(member.name, archive)
        if member.kind not in ("file", "directory"):
            raise ValueError(
                f"`{archive}`: the member `{member.name}` is {member.kind}; only plain files are "
                f"unpacked, so the archive is refused."
            )
        total += member.size
        if member.size > max_member_bytes or total > max_total_bytes or number >= MAX_MEMBERS:
            raise ValueError(
                f"`{archive}`: too large at the member `{member.name}` of {member.size:,} bytes "
                f"({total:,} bytes in {number + 1:,} members so far); the limits are "
                f"{max_member_bytes:,} bytes a member and {max_total_bytes:,} in all."
            )
        if member.kind == "file":
            if member.name in files:
                raise ValueError(f"`{archive}`: the member `{member.name}` is there twice.")
            files[member.name] = member
    return files


def _check_name(name: str, archive: Path) -> None:
    """Refuses names that lead out of the target on any operating system."""
    path = PurePosixPath(name)
    bad = (
        not name
        or path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or "\0" in name
        or any(":" in part for part in path.parts[:1])
    )
    if bad:
        raise ValueError(
            f"`{archive}`: the member {name!r} would be written outside the target directory, "
            f"so the archive is refused."
        )


def _copy(member: _Member, path: Path) -> None:
    """Writes one member, and not a byte more than it declared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    with member.open() as source, path.open("xb") as sink:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise ValueError(f"The member `{member.name}` is larger than it declares.")
            sink.write(block)
    if left:
        raise EOFError(f"the member `{member.name}` ends {left:,} bytes early")
