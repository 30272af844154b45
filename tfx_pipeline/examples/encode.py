"""`tf.Example`s in wire format, a whole column at a time.

The library encoder (`tfx_bsl.coders.example_coder`) is as fast, but serialises
the feature map in an order that differs from call to call: the same log would
give other bytes each time. Here features come in the order of their names.

A `Stream` holds values as they stand inside a feature's list on the wire, one
after the other, so the values of one example are a slice of bytes, whichever
events it takes. Wire format: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from typing import Literal
from typing import NamedTuple

import numpy as np

from transforms.arrow import pa
from transforms.arrow import pc

Kind = Literal["bytes", "int", "float"]

_LIST_TAG = {"bytes": b"\x0a", "float": b"\x12", "int": b"\x1a"}  # fields of tf.train.Feature
_EMPTY = pa.scalar(b"", pa.large_binary())


class Stream(NamedTuple):
    """Values on the wire.

    Attributes:
        kind: The type of the values.
        data: Their bytes.
        offsets: [n + 1] int64, where each of the n values starts.
    """

    kind: Kind
    data: pa.Buffer
    offsets: np.ndarray


class Feature(NamedTuple):
    """One feature of a batch of examples.

    Attributes:
        name: The feature's name.
        stream: Where its values are.
        starts: [B] int64, the first value of each example.
        ends: [B] int64, one behind the last value of each example.
        present: [B] bool, which examples have the feature; None for all.
    """

    name: str
    stream: Stream
    starts: np.ndarray
    ends: np.ndarray
    present: np.ndarray | None = None


def binary(data: np.ndarray | pa.Buffer, offsets: np.ndarray) -> pa.LargeBinaryArray:
    """Returns bytes and their [n + 1] int64 offsets as an array of n values, without a copy."""
    buffers = [
        None,
        pa.py_buffer(np.ascontiguousarray(offsets, np.int64)),
        data if isinstance(data, pa.Buffer) else pa.py_buffer(np.ascontiguousarray(data)),
    ]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def varints(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encodes integers as base-128 varints.

    Args:
        values: [n] int64.

    Returns:
        The bytes [m] uint8, and the offsets [n + 1] int64 of the values.
    """
    matrix, lengths = _varint_matrix(values)
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if offsets[-1] == matrix.size:
        return matrix.reshape(-1), offsets
    return matrix[np.arange(matrix.shape[1]) < lengths[:, None]], offsets


def bytes_stream(values: pa.Array) -> Stream:
    """Returns binary values without nulls as a stream."""
    array = _prefixed(values)
    return Stream("bytes", array.buffers()[2], _offsets(array))


def dictionary_stream(codes: np.ndarray, dictionary: pa.Array) -> Stream:
    """Returns the stream of `dictionary[codes]`; a negative code is the empty string.

    Args:
        codes: [n] integers.
        dictionary: [V] binary.
    """
    entries = pa.concat_arrays([_prefixed(dictionary), pa.array([b"\x0a\x00"], pa.large_binary())])
    array = entries.take(pa.array(np.where(codes < 0, len(dictionary), codes)))
    return Stream("bytes", array.buffers()[2] or pa.py_buffer(b""), _offsets(array))


def int_stream(values: np.ndarray) -> Stream:
    """Returns [n] integers as a stream of packed varints."""
    data, offsets = varints(np.asarray(values, np.int64))
    return Stream("int", pa.py_buffer(data), offsets)


def float_stream(values: np.ndarray) -> Stream:
    """Returns [n] numbers as a stream of packed 32-bit floats."""
    data = np.ascontiguousarray(values, "<f4")
    return Stream("float", pa.py_buffer(data), np.arange(len(data) + 1, dtype=np.int64) * 4)


def encode_examples(features: Iterable[Feature]) -> pa.LargeBinaryArray:
    """Serialises a batch of `tf.Example`s.

    Args:
        features: The features, in any order, each with one entry an example.

    Returns:
        [B] serialised examples, the same bytes for the same values.
    """
    parts: list[pa.Array | pa.Scalar] = []
    for feature in sorted(features, key=lambda f: f.name):
        values = _slices(feature.stream, feature.starts, feature.ends)
        header = _entry_header(feature.name, feature.stream.kind, _lengths(values))
        if feature.present is not None:
            present = pa.array(feature.present)
            header = pc.if_else(present, header, _EMPTY)
            values = pc.if_else(present, values, _EMPTY)
        parts += [header, values]
    entries = pc.binary_join_element_wise(*parts, _EMPTY)
    header = _flatten([_constant(b"\x0a"), _varint_matrix(_lengths(entries))], len(entries))
    return pc.binary_join_element_wise(header, entries, _EMPTY)


_Part = tuple[np.ndarray, np.ndarray]  # bytes [B or 1, w] and how many count [B or 1]


def _entry_header(name: str, kind: Kind, lengths: np.ndarray) -> pa.Array | pa.Scalar:
    """Returns what precedes the values of a map entry: the key and nested lengths.

    Args:
        name: The key.
        kind: The type of the values.
        lengths: [B] int64, bytes of the values of each example.

    Returns:
        One value an example, or one for all when all have the same length.
    """
    if len(lengths) > 1 and lengths[0] == lengths.min() == lengths.max():
        return _entry_header(name, kind, lengths[:1])[0]
    key = name.encode()
    parts: list[_Part] = []  # from the innermost message to the outermost
    size = lengths
    if kind != "bytes":  # Int64List.value and FloatList.value are packed
        size = _wrap(parts, b"\x0a", size)
    size = _wrap(parts, _LIST_TAG[kind], size)  # Feature
    size = _wrap(parts, b"\x12", size)  # the entry's value
    prefix = b"\x0a" + _varint_bytes(len(key)) + key  # the entry's key
    parts.append(_constant(prefix))
    _wrap(parts, b"\x0a", size + len(prefix))  # Features.feature
    return _flatten(parts[::-1], len(lengths))


def _wrap(parts: list[_Part], tag: bytes, size: np.ndarray) -> np.ndarray:
    """Puts a tag and a length before what is `size` bytes long; returns the new sizes."""
    matrix, lengths = _varint_matrix(size)
    parts += [(matrix, lengths), _constant(tag)]
    return size + lengths + len(tag)


def _constant(value: bytes) -> _Part:
    return np.frombuffer(value, np.uint8)[None, :], np.array([len(value)])


def _varint_bytes(value: int) -> bytes:
    return varints(np.array([value]))[0].tobytes()


def _varint_matrix(values: np.ndarray) -> _Part:
    """Returns varints left-aligned in the rows of [n, w] uint8, and their lengths [n]."""
    unsigned = values.astype(np.int64, copy=False).view(np.uint64)
    largest = int(unsigned.max()) if len(unsigned) else 0
    width = max(1, -(-largest.bit_length() // 7))
    matrix = np.empty((len(unsigned), width), np.uint8)
    lengths = np.ones(len(unsigned), np.int64)
    for position in range(width):
        shifted = unsigned >> np.uint64(7 * position)
        more = shifted > 0x7F
        matrix[:, position] = (shifted & np.uint64(0x7F)).astype(np.uint8) | (
            more.astype(np.uint8) << 7
        )
        lengths += more
    return matrix, lengths


def _flatten(parts: Sequence[_Part], rows: int) -> pa.LargeBinaryArray:
    """Joins parts row by row."""
    matrix = np.hstack([np.broadcast_to(m, (rows, m.shape[1])) for m, _ in parts])
    keep = np.hstack(
        [np.broadcast_to(np.arange(m.shape[1]) < n[:, None], (rows, m.shape[1])) for m, n in parts]
    )
    offsets = np.zeros(rows + 1, np.int64)
    np.cumsum(keep.sum(axis=1), out=offsets[1:])
    return binary(matrix[keep], offsets)


def _prefixed(values: pa.Array) -> pa.LargeBinaryArray:
    """Returns each value of a `BytesList` with its tag and length."""
    values = values.cast(pa.large_binary())
    header = _flatten([_constant(b"\x0a"), _varint_matrix(_lengths(values))], len(values))
    return pc.binary_join_element_wise(header, values, _EMPTY)


def _slices(stream: Stream, starts: np.ndarray, ends: np.ndarray) -> pa.LargeBinaryArray:
    """Returns the bytes of the values of each example."""
    first, last = stream.offsets[starts], stream.offsets[ends]
    if not len(first) or np.array_equal(first[1:], last[:-1]):
        return binary(stream.data, np.append(first, last[-1:] if len(last) else 0))
    if (first[1:] >= last[:-1]).all():  # what lies between two examples is a value to skip
        both = np.stack([first, last], axis=1).reshape(-1)
        return binary(stream.data, both).take(pa.array(np.arange(0, len(both), 2)))
    data = memoryview(stream.data)  # they overlap, as chunks of a user and histories of pages do
    parts = [bytes(data[a:b]) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    return pa.array(parts, pa.large_binary())


def _offsets(array: pa.LargeBinaryArray) -> np.ndarray:
    """Returns the [n + 1] int64 offsets of an array into its data buffer."""
    offsets = np.frombuffer(array.buffers()[1], np.int64)
    return offsets[array.offset : array.offset + len(array) + 1]


def _lengths(array: pa.LargeBinaryArray) -> np.ndarray:
    return np.diff(_offsets(array)) if len(array) else np.zeros(0, np.int64)
