"""Inputs and outputs of a signature, and the check of a request against them."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.client.protos import data_type_name
from serving.client.tensors import STRING
from serving.client.tensors import from_proto
from serving.client.tensors import item_bytes
from serving.local_server.errors import invalid

Arrays = dict[str, npt.NDArray[Any]]
Shape = tuple[int, ...]
_STRING_BYTES = 64  # of a short string: its object here, its place in TensorFlow's tensor


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        tensor: its name in the graph.
        dtype: number of its `tensorflow.DataType`.
        shape: `None` for sizes that are free; the whole is `None` when the rank is.
    """

    tensor: str
    dtype: int
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        sizes = "any shape" if self.shape is None else _sizes(self.shape)
        return f"{data_type_name(self.dtype)} {sizes}"

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Returns whether a tensor of this shape may be fed."""
        wanted = (None,) * len(shape) if self.shape is None else self.shape
        if len(shape) != len(wanted):
            return False
        for want, size in zip(wanted, shape, strict=True):  # all() would take twice the time
            if size < 0 or (want is not None and want != size):
                return False
        return True


@dataclass(frozen=True)
class Folded:
    """The inputs of a request, checked and not yet unfolded.

    Attributes:
        tensors: name, `TensorProto` and shape of each.
        rows: size of the batch, `None` when they have no batch dimension.
        bytes: memory that they take once they are unfolded.
    """

    tensors: list[tuple[str, Any, Shape]]
    rows: int | None
    bytes: int


@dataclass(frozen=True)
class ServedSignature:
    """One signature of one version.

    Attributes:
        name: its name.
        owner: model and version, for messages.
        inputs: by name.
        outputs: by name.
    """

    name: str
    owner: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    def __str__(self) -> str:
        return f"signature `{self.name}` of {self.owner}"

    @functools.cached_property
    def by_rows(self) -> bool:
        """True if the inputs share a batch dimension."""
        return bool(self.inputs) and all(
            spec.shape is not None and spec.shape[:1] == (None,) for spec in self.inputs.values()
        )

    def measure(self, protos: Mapping[str, Any]) -> Folded:
        """Checks the inputs of a request as far as that allocates nothing.

        Args:
            protos: a `TensorProto` for each input.

        Raises:
            RequestError: INVALID_ARGUMENT with what was expected and received.
        """
        tensors, unfolded = [], 0
        for name, proto in protos.items():
            spec = self.inputs.get(name)
            if spec is None:
                break
            shape = tuple([dim.size for dim in proto.tensor_shape.dim])
            if proto.dtype != spec.dtype or not spec.accepts(shape):
                raise invalid(
                    f"Expected {spec} for input `{name}` of {self}. Received: "
                    f"{data_type_name(proto.dtype)} {_sizes(shape)}."
                )
            tensors.append((name, proto, shape))
            unfolded += _unfolded(proto, spec.dtype, shape)
        if len(tensors) != len(self.inputs) or len(tensors) != len(protos):
            missing = self.inputs.keys() - protos.keys()
            unknown = protos.keys() - self.inputs.keys()
            raise invalid(
                f"Expected the inputs {sorted(self.inputs)} for {self}. Received: "
                f"{sorted(protos)}"
                + (f"; missing: {sorted(missing)}" if missing else "")
                + (f"; unknown: {sorted(unknown)}" if unknown else "")
                + "."
            )
        return Folded(tensors, self._rows(tensors), unfolded)

    def decode(self, folded: Folded, refuse_nan: bool) -> Arrays:
        """Unfolds the inputs of a request.

        Args:
            folded: what `measure` returned.
            refuse_nan: refuse NaN and infinity.

        Raises:
            RequestError: INVALID_ARGUMENT with what was expected and received.
        """
        return {
            name: self._decode(name, proto, shape, refuse_nan)
            for name, proto, shape in folded.tensors
        }

    def check_outputs(self, names: list[str]) -> None:
        """Checks an output filter.

        Raises:
            RequestError: INVALID_ARGUMENT, it names an output that is not there.
        """
        unknown = sorted(set(names) - self.outputs.keys())
        if unknown:
            raise invalid(
                f"Expected an output filter out of {sorted(self.outputs)} for {self}. "
                f"Received: {unknown}."
            )

    def _rows(self, tensors: list[tuple[str, Any, Shape]]) -> int | None:
        """Returns the size of the batch, `None` when the inputs share no batch dimension."""
        if not self.by_rows:
            return None
        sizes = {name: shape[0] for name, _, shape in tensors}
        if len(set(sizes.values())) > 1:
            raise invalid(
                f"Expected one number of rows in all inputs of {self}. Received: {sizes}."
            )
        rows = tensors[0][2][0]
        if rows == 0:
            raise invalid(f"Expected at least one row for {self}. Received: an empty batch.")
        return rows

    def _decode(self, name: str, proto: Any, shape: Shape, refuse_nan: bool) -> npt.NDArray[Any]:
        try:
            array = from_proto(proto, shape)
        except ValueError as error:
            raise invalid(f"Input `{name}` of {self}: {error}") from error
        if refuse_nan and array.dtype.kind == "f" and not np.isfinite(array).all():
            where = np.argwhere(~np.isfinite(np.atleast_1d(array)))[0].tolist()
            raise invalid(
                f"Expected finite values for input `{name}` of {self}. Received: "
                f"{np.atleast_1d(array)[tuple(where)]} at {where}."
            )
        return array


def _unfolded(proto: Any, dtype: int, shape: Shape) -> int:
    """Returns the bytes of a tensor in memory, its last value repeated as often as it will be."""
    count = math.prod(shape)
    if dtype != STRING:
        return count * item_bytes(dtype)
    given = proto.string_val
    repeated = count - len(given)
    last = len(given[-1]) if repeated > 0 and given else 0
    return count * _STRING_BYTES + repeated * last


def _sizes(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
