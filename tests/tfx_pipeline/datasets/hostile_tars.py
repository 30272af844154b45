"""Tar archives that tarfile does not write."""

from __future__ import annotations

import tarfile

_BLOCK = tarfile.BLOCKSIZE


def _header(name: str, kind: bytes, size: int, fields: dict[int, bytes] | None = None) -> bytes:
    """A GNU header; `fields` are bytes by their offset."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    for offset, value in (fields or {}).items():
        block[offset : offset + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax_header(size: int) -> bytes:
    """One file with an extended header of `size` bytes."""
    record = b"%d comment=" % size
    record += b"x" * (size - len(record) - 1) + b"\n"
    padding = bytes(-size % _BLOCK)
    return _header("x", tarfile.XHDTYPE, size) + record + padding + pax_end()


def pax_end() -> bytes:
    """An empty file and the end of an archive."""
    return _header("file", tarfile.REGTYPE, 0) + bytes(2 * _BLOCK)


def sparse_map(size: int) -> bytes:
    """One sparse file whose map of its parts takes `size` bytes."""
    part = (b"%011o\0" % 1) * 2
    extension = (part * 21).ljust(_BLOCK - 8, b"\0") + b"\1" + bytes(7)
    first = _header("sparse", tarfile.GNUTYPE_SPARSE, 0, {386: part * 4, 482: b"\1"})
    return first + extension * (size // _BLOCK) + bytes(3 * _BLOCK)


def negative_size() -> bytes:
    """A header whose size, in base 256, is -512: the next header would be this one."""
    size = b"\xff" * 10 + (-512 & 0xFFFF).to_bytes(2, "big")
    return _header("loop", tarfile.REGTYPE, 0, {124: size}) + bytes(2 * _BLOCK)
