"""NumPy arrays to `TensorProto` and back, without TensorFlow.

Numbers travel as `tensor_content`, one memory copy; strings as `string_val`.
What TF Serving answers (typed fields such as `float_val`) is read as well,
with its shorthand of repeating the last value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.client.protos import data_type_name

STRING = 7
BFLOAT16 = 14
HALF = 19
# `tensorflow.DataType` -> (NumPy type, field of TensorProto).
_NUMERIC: dict[int, tuple[np.dtype[Any], str]] = {
    1: (np.dtype("<f4"), "float_val"),
    2: (np.dtype("<f8"), "double_val"),
    3: (np.dtype("<i4"), "int_val"),
    4: (np.dtype("u1"), "int_val"),
    5: (np.dtype("<i2"), "int_val"),
    6: (np.dtype("i1"), "int_val"),
    9: (np.dtype("<i8"), "int64_val"),
    10: (np.dtype("?"), "bool_val"),
    17: (np.dtype("<u2"), "int_val"),
    HALF: (np.dtype("<f2"), "half_val"),
    22: (np.dtype("<u4"), "uint32_val"),
    23: (np.dtype("<u8"), "uint64_val"),
}
_NUMBER_OF = {dtype: number for number, (dtype, _) in _NUMERIC.items()}
# A few bytes may claim a huge shape by the shorthand; no honest request needs more.
_MAX_REPEATED = 1 << 22


def data_type(array: npt.NDArray[Any]) -> int:
    """Returns the number of the `tensorflow.DataType` of an array.

    Raises:
        ValueError: TensorFlow has no such type, or the client does not send it.
    """
    if array.dtype.kind in "OSU":
        return STRING
    number = _NUMBER_OF.get(array.dtype.newbyteorder("<"))
    if number is None:
        raise ValueError(
            f"Expected an array of strings, booleans, integers or floats. Received: dtype "
            f"`{array.dtype}`. Convert it, for instance with `.astype('float32')`."
        )
    return number


def numpy_type(number: int) -> np.dtype[Any]:
    """Returns the NumPy type of a `tensorflow.DataType` of numbers.

    Raises:
        ValueError: the client does not send it.
    """
    if number not in _NUMERIC:
        raise ValueError(f"Tensors of type {data_type_name(number)} are not supported.")
    return _NUMERIC[number][0]


def item_bytes(number: int) -> int:
    """Returns the bytes of one value of a `tensorflow.DataType`; 8 where there is no fixed size."""
    return _NUMERIC[number][0].itemsize if number in _NUMERIC else 8


def fill_proto(proto: Any, values: npt.ArrayLike, as_fields: bool = False) -> None:
    """Writes an array into an empty `TensorProto`.

    Args:
        proto: the message to fill, in place (a map's entry needs no copy then).
        values: array or nested lists, any shape; strings are `str` (sent as
            UTF-8) or `bytes`. Floats of lists go as float32, integers as int64.
        as_fields: numbers into the typed field, as TF Serving itself answers,
            in place of `tensor_content`.

    Raises:
        ValueError: the type cannot be sent, or nested lists have unequal lengths.
    """
    array = np.asarray(values)
    if array.dtype.kind in "SU" and not isinstance(values, np.ndarray | np.generic):
        array = np.asarray(values, dtype=object)  # fixed-width strings lose trailing NUL bytes
    if array.dtype == np.float64 and not isinstance(values, np.ndarray | np.generic):
        array = array.astype(np.float32)
    number = data_type(array)
    proto.dtype = number
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if number == STRING:
        proto.string_val.extend(_to_bytes(array.ravel().tolist()))
        return
    little = np.ascontiguousarray(array, dtype=_NUMERIC[number][0])
    if not as_fields:
        proto.tensor_content = little.tobytes()
        return
    if number == HALF:
        little = little.view("<u2")
    getattr(proto, _NUMERIC[number][1]).extend(little.ravel().tolist())


def from_proto(proto: Any, shape: tuple[int, ...] | None = None) -> npt.NDArray[Any]:
    """Reads a `TensorProto` into an array of its shape.

    Strings become an object array of `bytes`, bfloat16 becomes float32.

    Args:
        proto: the message.
        shape: its shape, where that was read already.

    Raises:
        ValueError: the type is not supported, or the values do not fill the shape.
    """
    if shape is None:
        shape = _shape(proto)
    count = math.prod(shape)
    number = proto.dtype
    if number == STRING:
        strings = np.array(list(proto.string_val), dtype=object)
        return _fill(strings, count, b"").reshape(shape)
    if number == BFLOAT16:
        return _bfloat16(proto, count).reshape(shape)
    if number not in _NUMERIC:
        raise ValueError(f"Tensors of type {data_type_name(number)} are not supported.")
    dtype, field = _NUMERIC[number]
    if proto.tensor_content:
        return _from_content(proto.tensor_content, dtype, count).reshape(shape)
    values = getattr(proto, field)
    if number == HALF:
        flat = np.array(values, dtype="<u2").view("<f2")
    else:
        flat = np.array(values, dtype=dtype)
    return _fill(flat, count, 0).reshape(shape)


def _to_bytes(values: list[Any]) -> list[bytes]:
    try:
        return [v if type(v) is bytes else v.encode() for v in values]
    except AttributeError:
        kinds = sorted({type(v).__name__ for v in values} - {"str", "bytes"})
        raise ValueError(
            f"Expected strings or one type of numbers. Received: elements of type "
            f"{', '.join(kinds)} (unequal lengths of nested lists end here too). "
            "Pad the lists to one length, or convert the elements."
        ) from None


def _shape(proto: Any) -> tuple[int, ...]:
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError(f"Expected a tensor with a fully known shape. Received: {list(shape)}.")
    return shape


def _from_content(content: bytes, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    if len(content) != count * dtype.itemsize:
        raise ValueError(
            f"Expected {count * dtype.itemsize} bytes of `tensor_content` for {count} values of "
            f"{dtype}. Received: {len(content)} bytes."
        )
    return np.frombuffer(content, dtype=dtype)


def _bfloat16(proto: Any, count: int) -> npt.NDArray[Any]:
    if proto.tensor_content:
        bits = _from_content(proto.tensor_content, np.dtype("<u2"), count)
    else:
        bits = _fill(np.array(proto.half_val, dtype="<u2"), count, 0)
    return (bits.astype("<u4") << 16).view("<f4")


def _fill(flat: npt.NDArray[Any], count: int, default: Any) -> npt.NDArray[Any]:
    """Repeats the last value up to `count`, as TensorFlow does."""
    if flat.size == count:
        return flat
    if flat.size > count or count > _MAX_REPEATED:
        raise ValueError(f"Expected {count} values for the shape. Received: {flat.size}.")
    filled = np.full(count, flat[-1] if flat.size else default, dtype=flat.dtype)
    filled[: flat.size] = flat
    return filled


def pad(
    values: Sequence[Any] | npt.NDArray[Any], lengths: npt.NDArray[np.int64], fill: Any, dtype: Any
) -> npt.NDArray[Any]:
    """Lays rows of different lengths out as one array.

    Args:
        values: the values of all rows, one row after another.
        lengths: [B] int64, number of values of each row.
        fill: what stands behind a row's end; models mask it by the length.
        dtype: NumPy type of the result.

    Returns:
        [B, max(1, longest)]. Never zero wide: TF Serving's batching refuses an
        empty tensor among others, and with it the whole batch.
    """
    width = max(1, int(lengths.max(initial=0)))
    out = np.full((len(lengths), width), fill, dtype=dtype)  # [B, T]
    out[np.arange(width) < lengths[:, None]] = np.array(values, dtype=dtype)
    return out
