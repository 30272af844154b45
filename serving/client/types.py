"""What goes into the client and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Event(NamedTuple):
    """Something that a user did.

    Attributes:
        id: the entity, written `type:id`, e.g. `movie:1193`.
        event: type of the event as in the event log, e.g. `watch`.
        timestamp: microseconds since the epoch (UTC).
    """

    id: str
    event: str
    timestamp: int


@dataclass(frozen=True)
class Request:
    """One row of a batch: whom to recommend for.

    Attributes:
        history: what the user did, oldest first; may be empty.
        exclude_ids: entities that must not come back, besides those that the
            servable itself excludes.
        query: what the user typed, if anything.
        user_attributes: tokens `key=value`.
        request_time: microseconds since the epoch; `None` is now, 0 is unknown
            (nothing is then held back for not being available yet).
    """

    history: Sequence[Event] = ()
    exclude_ids: Sequence[str] = ()
    query: str = ""
    user_attributes: Sequence[str] = ()
    request_time: int | None = None


@dataclass(frozen=True)
class Recommendation:
    """What one user should see, best first.

    Attributes:
        ids: entities `type:id`, at most `k`; fewer where fewer may be shown.
        scores: [len(ids)] float32, finite, never rising.
        model: name of the model that answered.
        version: its version.
    """

    ids: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    model: str
    version: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Prediction:
    """The outputs of a signature.

    Attributes:
        outputs: arrays by output name; strings are object arrays of `bytes`.
        model: name of the model that answered.
        version: its version.
        signature: the signature that ran.
    """

    outputs: Mapping[str, npt.NDArray[Any]]
    model: str
    version: int
    signature: str

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.outputs[name]


@dataclass(frozen=True)
class VersionStatus:
    """State of one version of a model.

    Attributes:
        version: its number.
        state: `START`, `LOADING`, `AVAILABLE`, `UNLOADING` or `END`.
        error_code: `OK`, or the name of the gRPC code of what went wrong.
        error_message: what went wrong, or the empty string.
    """

    version: int
    state: str
    error_code: str
    error_message: str


@dataclass(frozen=True)
class TensorInfo:
    """Type and shape of an input or an output.

    Attributes:
        dtype: name of the TensorFlow type, e.g. `INT64`.
        shape: -1 where any size goes; `None` when even the rank is free.
    """

    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of one signature."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


@dataclass(frozen=True)
class ModelMetadata:
    """Signatures of the version that a request would reach."""

    model: str
    version: int
    signatures: Mapping[str, Signature]
