"""Several requests as one batch, and the batch's answer cut up again."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.local_server.signature import Arrays

# Below this many values in a batch, padding costs nothing worth avoiding.
_FREE_CELLS = 1 << 16
_LONGEST_PADDING = 256  # bytes of a string that others may be padded with


def can_merge(arrays: Arrays) -> bool:
    """Returns whether a request may share a batch: it has values to pad with, and short ones."""
    return all(
        array.size
        and (array.ndim == 1 or array.dtype.kind != "O" or len(array.flat[0]) <= _LONGEST_PADDING)
        for array in arrays.values()
    )


class GrowingBatch:
    """The sizes of a batch that takes requests one by one."""

    def __init__(self) -> None:
        self.rows = 0
        self._cells = 0
        self._longest: dict[str, tuple[int, ...]] = {}

    def take(self, arrays: Arrays, rows: int) -> bool:
        """Takes a request, unless padding would more than double the work.

        One very long history would otherwise make the short ones of its batch
        as long as itself. The first request is always taken.

        Args:
            arrays: inputs of the same signature as the others', each [rows, ...].
            rows: size of the request.

        Returns:
            Whether the request was taken.
        """
        longest = {name: array.shape[1:] for name, array in arrays.items()}
        for name, sizes in self._longest.items():
            if sizes != longest[name]:
                longest[name] = tuple(map(max, sizes, longest[name]))
        cells = self._cells + sum(array.size for array in arrays.values())
        padded = (self.rows + rows) * sum(map(math.prod, longest.values()))
        if self.rows and padded > max(_FREE_CELLS, 2 * cells):
            return False
        self.rows, self._cells, self._longest = self.rows + rows, cells, longest
        return True


def merge(requests: Sequence[Arrays]) -> Arrays:
    """Puts the rows of requests below each other.

    Dimensions behind the first may differ: shorter ones are padded with the
    first value of their tensor, as TF Serving pads.

    Args:
        requests: inputs of one signature, each [B, ...] with at least one value.

    Returns:
        Arrays by name, each [sum of B, longest ...].
    """
    if len(requests) == 1:
        return requests[0]
    return {name: _stack([request[name] for request in requests], _first) for name in requests[0]}


def split(outputs: Arrays, sizes: Sequence[int]) -> list[Arrays]:
    """Cuts the outputs of a batch by the rows of its requests.

    Args:
        outputs: arrays [sum of sizes, ...].
        sizes: rows of each request.

    Raises:
        ValueError: an output does not have one row for each input row.
    """
    _check_rows(outputs, sum(sizes))
    ends = np.cumsum(sizes).tolist()
    return [
        {name: array[end - size : end] for name, array in outputs.items()}
        for size, end in zip(sizes, ends, strict=True)
    ]


def cut(arrays: Arrays, rows: int, largest: int) -> list[tuple[Arrays, int]]:
    """Cuts a request into parts of at most `largest` rows.

    Args:
        arrays: its inputs, each [rows, ...].
        rows: size of the request.
        largest: rows of a part.

    Returns:
        The inputs of each part, as views, and its rows.
    """
    return [
        (
            {name: array[start : start + largest] for name, array in arrays.items()},
            min(largest, rows - start),
        )
        for start in range(0, rows, largest)
    ]


def join(parts: Sequence[Arrays], sizes: Sequence[int]) -> Arrays:
    """Puts the outputs of a request's parts together again.

    Outputs may be as wide as what they were made of, which other requests of their batch
    may have widened: narrower ones are filled with zeros, or empty strings.

    Args:
        parts: outputs of each part.
        sizes: rows of each part.

    Raises:
        ValueError: an output does not have one row for each input row, or parts
            differ in their number of dimensions.
    """
    for part, rows in zip(parts, sizes, strict=True):
        _check_rows(part, rows)
    return {name: _stack([part[name] for part in parts], _zero) for name in parts[0]}


def _check_rows(outputs: Arrays, rows: int) -> None:
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != rows:
            raise ValueError(f"Output `{name}` has shape {array.shape} for {rows} rows.")


def _stack(
    parts: Sequence[npt.NDArray[Any]], filler: Callable[[npt.NDArray[Any]], Any]
) -> npt.NDArray[Any]:
    """Puts arrays [B, ...] below each other, each padded to the longest of every dimension."""
    shape = tuple(np.max([part.shape[1:] for part in parts], axis=0).tolist())
    return np.concatenate([_padded(part, shape, filler) for part in parts])


def _padded(
    array: npt.NDArray[Any], shape: tuple[int, ...], filler: Callable[[npt.NDArray[Any]], Any]
) -> npt.NDArray[Any]:
    if array.shape[1:] == shape:
        return array
    out = np.full((array.shape[0], *shape), filler(array), dtype=array.dtype)
    out[tuple(slice(size) for size in array.shape)] = array
    return out


def _first(array: npt.NDArray[Any]) -> Any:
    return array.flat[0]


def _zero(array: npt.NDArray[Any]) -> Any:
    return b"" if array.dtype.kind == "O" else 0
