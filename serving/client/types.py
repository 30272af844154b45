"""Requests and answers of the client."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
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
        value: a number that came with it, e.g. a rating; 0 is none. Rankers alone read it.
        query: what the user had typed that led to it, if anything. Rankers alone read it.
    """

    id: str
    event: str
    timestamp: int
    value: float = 0.0
    query: str = ""


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
class CatalogueRow:
    """Features of an item, as the catalogue of an event log has them; any may be missing.

    Attributes:
        title: its title.
        categories: its categories.
        attributes: tokens `key=value`.
        price: its price.
        image_vector: a vector of its image, as long as those of the log.
        text_vector: a vector of its text, likewise.
        image: its encoded image, for an export that has an encoder of images.
        vectors: vectors of declared fields, by the field's name.
        tokens: tokens of declared fields, likewise.
    """

    title: str = ""
    categories: Sequence[str] = ()
    attributes: Sequence[str] = ()
    price: float | None = None
    image_vector: Sequence[float] = ()
    text_vector: Sequence[float] = ()
    vectors: Mapping[str, Sequence[float]] = field(default_factory=dict)
    tokens: Mapping[str, Sequence[str]] = field(default_factory=dict)
    image: bytes = b""


class Candidate(NamedTuple):
    """An item to score.

    Attributes:
        id: the item, `type:id`.
        row: its features, where the ranker's export may not have them because the item
            is newer; or a serialised catalogue row, as the example generator writes it.
    """

    id: str
    row: CatalogueRow | bytes | None = None


@dataclass(frozen=True)
class RankRequest:
    """One row of a batch: which items to score, and for whom.

    Attributes:
        history: what the user did, oldest first; may be empty.
        candidates: the items, each an id or a `Candidate`; may be empty.
        query: what the user typed, if anything.
        user_attributes: tokens `key=value`.
        request_time: microseconds since the epoch; `None` is now, 0 is unknown.
    """

    history: Sequence[Event] = ()
    candidates: Sequence[str | Candidate] = ()
    query: str = ""
    user_attributes: Sequence[str] = ()
    request_time: int | None = None


@dataclass(frozen=True)
class Recommendation:
    """Recommendations for one user, best first.

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
class Ranking:
    """The candidates of one user, best first.

    Attributes:
        ids: those that were sent; equal scores keep the order that they were sent in.
        scores: [len(ids)] float32, finite, never rising: the first head's.
        heads: scores of the ranker's further heads by name, each [len(ids)] float32.
        model: name of the model that answered.
        version: its version.
    """

    ids: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    heads: Mapping[str, npt.NDArray[np.float32]]
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
