"""Gzipped TFRecord files in TFX's layout, written whole or not at all."""

from __future__ import annotations

import posixpath
import uuid
import zlib
from collections.abc import Iterable
from collections.abc import Iterator

import google_crc32c
import numpy as np
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.arrow import pa
from transforms.arrow import pc

FILE_PREFIX = "data_tfrecord"
STAGING = ".staging"

_GZIP = 31  # zlib's window bits for a gzip header, which then has no time in it
_EMPTY = pa.scalar(b"", pa.large_binary())


def shard_name(split: str, shard: int, shards: int) -> str:
    """Returns the file of a shard, relative to the artifact."""
    return f"Split-{split}/{FILE_PREFIX}-{shard:05d}-of-{shards:05d}.gz"


def compress_records(batches: Iterable[pa.LargeBinaryArray], level: int) -> Iterator[bytes]:
    """Yields records as parts of a gzipped TFRecord file.

    Args:
        batches: Serialised examples, [n] each.
        level: Gzip's level.
    """
    compressor = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
    for records in batches:
        yield compressor.compress(_frame(records))
    yield compressor.flush()


def write_file(uri: str, name: str, data: bytes | Iterable[bytes]) -> None:
    """Writes a file below `uri`, under another name first, so that no reader sees half of it."""
    temporary = posixpath.join(uri, STAGING, uuid.uuid4().hex)
    with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        for part in [data] if isinstance(data, bytes) else data:
            file.write(part)
    FileSystems.rename([temporary], [posixpath.join(uri, name)])


def _frame(records: pa.LargeBinaryArray) -> memoryview | bytes:
    """Returns records as TFRecord frames: length, its checksum, the data, its checksum."""
    if not len(records):
        return b""
    lengths = np.diff(np.frombuffer(records.buffers()[1], np.int64)[: len(records) + 1])
    head = np.empty(len(records), [("length", "<u8"), ("crc", "<u4")])
    head["length"] = lengths
    packed = head["length"].tobytes()
    head["crc"] = _masked(
        [google_crc32c.value(packed[i : i + 8]) for i in range(0, len(packed), 8)]
    )
    tail = _masked([google_crc32c.value(record) for record in records.to_pylist()])
    framed = pc.binary_join_element_wise(_fixed(head), records, _fixed(tail.astype("<u4")), _EMPTY)
    return memoryview(framed.buffers()[2])


def _masked(checksums: list[int]) -> np.ndarray:
    """Returns checksums as TFRecord stores them, [n] uint32."""
    crc = np.array(checksums, np.uint64)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8 & 0xFFFFFFFF).astype(np.uint32)


def _fixed(values: np.ndarray) -> pa.LargeBinaryArray:
    offsets = np.arange(len(values) + 1, dtype=np.int64) * values.itemsize
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.large_binary(), len(values), buffers)
