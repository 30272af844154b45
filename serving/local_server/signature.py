"""What a signature takes and gives, and the check of a request against it."""

from __future__ import annotations

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
        """Whether a tensor of this shape may be fed."""
        if min(shape, default=0) < 0:
            return False
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            want is None or want == size for want, size in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True)
class Size:
    """How large a request is.

    Attributes:
        rows: size of its batch, `None` when it has no batch dimension.
        bytes: memory that its inputs take.
    """

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

    def measure(self, protos: Mapping[str, Any]) -> Size:
        """Checks the inputs of a request as far as that allocates nothing.

        Args:
            protos: a `TensorProto` for each input.

        Returns:
            How large the inputs are once they are unfolded.

        Raises:
            RequestError: INVALID_ARGUMENT with what was expected and received.
        """
        missing, unknown = self.inputs.keys() - protos.keys(), protos.keys() - self.inputs.keys()
        if missing or unknown:
            raise invalid(
                f"Expected the inputs {sorted(self.inputs)} for {self}. Received: "
                f"{sorted(protos)}"
                + (f"; missing: {sorted(missing)}" if missing else "")
                + (f"; unknown: {sorted(unknown)}" if unknown else "")
                + "."
            )
        shapes = {name: self._shape(name, proto) for name, proto in protos.items()}
        unfolded = sum(_unfolded(protos[name], shape) for name, shape in shapes.items())
        return Size(self._rows(shapes), unfolded)

    def decode(self, protos: Mapping[str, Any], refuse_nan: bool) -> Arrays:
        """Reads the inputs of a request that `measure` found good.

        Args:
            protos: a `TensorProto` for each input.
            refuse_nan: refuse NaN and infinity.

        Raises:
            RequestError: INVALID_ARGUMENT with what was expected and received.
        """
        return {name: self._decode(name, proto, refuse_nan) for name, proto in protos.items()}

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

    def _rows(self, shapes: Mapping[str, Shape]) -> int | None:
        """Returns the size of the batch, `None` when the inputs share no batch dimension."""
        free = [
            spec.shape is not None and spec.shape[:1] == (None,) for spec in self.inputs.values()
        ]
        if not shapes or not all(free):
            return None
        sizes = {name: shape[0] for name, shape in shapes.items()}
        if len(set(sizes.values())) > 1:
            raise invalid(
                f"Expected one number of rows in all inputs of {self}. Received: {sizes}."
            )
        rows = next(iter(sizes.values()))
        if rows == 0:
            raise invalid(f"Expected at least one row for {self}. Received: an empty batch.")
        return rows

    def _shape(self, name: str, proto: Any) -> Shape:
        spec = self.inputs[name]
        shape = tuple(dim.size for dim in proto.tensor_shape.dim)
        if proto.dtype != spec.dtype or not spec.accepts(shape):
            raise invalid(
                f"Expected {spec} for input `{name}` of {self}. Received: "
                f"{data_type_name(proto.dtype)} {_sizes(shape)}."
            )
        return shape

    def _decode(self, name: str, proto: Any, refuse_nan: bool) -> npt.NDArray[Any]:
        try:
            array = from_proto(proto)
        except ValueError as error:
            raise invalid(f"Input `{name}` of {self}: {error}") from error
        if refuse_nan and array.dtype.kind == "f" and not np.isfinite(array).all():
            where = np.argwhere(~np.isfinite(np.atleast_1d(array)))[0].tolist()
            raise invalid(
                f"Expected finite values for input `{name}` of {self}. Received: "
                f"{np.atleast_1d(array)[tuple(where)]} at {where}."
            )
        return array


def _unfolded(proto: Any, shape: Shape) -> int:
    """Returns the bytes of a tensor in memory, its last value repeated as often as it will be."""
    count = math.prod(shape)
    if proto.dtype != STRING:
        return count * item_bytes(proto.dtype)
    given = len(proto.string_val)
    last = len(proto.string_val[-1]) if 0 < given < count else 0
    return count * _STRING_BYTES + (count - given) * last


def _sizes(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
