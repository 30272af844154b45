"""Unpacks zip and tar archives that nobody vouches for."""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from pathlib import PurePosixPath

from tfx_pipeline.datasets.archive_members import Member
from tfx_pipeline.datasets.archive_members import open_members

MAX_MEMBER_BYTES = 8 << 30
MAX_TOTAL_BYTES = 32 << 30
MAX_MEMBERS = 200_000
_NAME_BYTES, _PART_BYTES, _PARTS = 1024, 255, 64  # of a member's path
_BLOCK = 1 << 20
# What zipfile, tarfile and the compressions raise for bytes that are not as they should be.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    UnicodeError,
)


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
            outside the target, cannot be a file there, is a link or a device,
            is encrypted or too large, or a wanted member is missing.
        OSError: If the disk is full or fails.
    """
    archive, target = Path(archive), Path(target)
    if target.exists():
        raise FileExistsError(f"`{target}` exists already; archives are unpacked to a new place.")
    if not archive.is_file():
        raise FileNotFoundError(f"`{archive}` is not a file; expected a zip or tar archive.")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with open_members(archive) as members:
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
    except (*_DAMAGE, OSError) as error:
        # Those of the compressions have no number, and a zip may lead to before its beginning.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise ValueError(
            f"`{archive}` is damaged or incomplete ({error}). Fetch it again."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _check(
    members: Iterator[Member], archive: Path, max_member_bytes: int, max_total_bytes: int
) -> dict[str, Member]:
    """Returns the files of an archive by name, or raises on the first bad member."""
    files: dict[str, Member] = {}
    paths: set[PurePosixPath] = set()
    total = 0
    for number, member in enumerate(members):
        path = _path(member, archive)
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
                f"{max_member_bytes:,} bytes a member, {max_total_bytes:,} in all, and "
                f"{MAX_MEMBERS:,} members."
            )
        if member.kind == "file":
            if path in paths:
                raise ValueError(f"`{archive}`: the member `{member.name}` is there twice.")
            files[member.name] = member
            paths.add(path)
    _refuse_files_as_folders(paths, archive)
    return files


def _refuse_files_as_folders(paths: Iterable[PurePosixPath], archive: Path) -> None:
    folders = {parent for path in paths for parent in path.parents}
    for path in paths:
        if path in folders:
            raise ValueError(f"`{archive}`: the member `{path}` is a file and a directory.")


def _path(member: Member, archive: Path) -> PurePosixPath:
    """Returns where a member belongs below the target.

    Raises:
        ValueError: Its name leads out of the target on some operating system, or names
            no file that could be written there.
    """
    name, path = member.name, PurePosixPath(member.name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or "\0" in name
        or any(":" in part for part in path.parts[:1])
    ):
        raise ValueError(
            f"`{archive}`: the member {name[:100]!r} would be written outside the target "
            f"directory, so the archive is refused."
        )
    if not path.parts and (member.kind == "file" or not name):
        raise ValueError(f"`{archive}`: a member has no name ({name!r}), so it is refused.")
    try:
        sizes = [len(os.fsencode(part)) for part in path.parts]
    except UnicodeEncodeError as error:
        raise ValueError(
            f"`{archive}`: the member {name[:100]!r} has a name that no file can have: {error}."
        ) from error
    if len(sizes) > _PARTS or max(sizes, default=0) > _PART_BYTES or sum(sizes) > _NAME_BYTES:
        raise ValueError(
            f"`{archive}`: the member {name[:100]!r}... has a name that is too long or too deep "
            f"({sum(sizes):,} bytes, {len(sizes):,} parts); the limits are {_NAME_BYTES:,} bytes, "
            f"{_PART_BYTES} a part, and {_PARTS} parts."
        )
    return path


def _copy(member: Member, path: Path) -> None:
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
