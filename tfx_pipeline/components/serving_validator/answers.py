"""Answers of a server to the requests of a check, whatever the stage."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tensorflow as tf

from serving.client import DeadlineError
from serving.client import OverloadedError
from serving.client import RecommenderClient
from serving.client import ServingError
from serving.client import UnavailableError
from serving.client import protos
from serving.client.tensors import from_proto


@dataclass
class Answers:
    """Answers of a server to the requests of a validation.

    Attributes:
        milliseconds: How long each request took that was asked alone.
        warmed: Warm-up requests that were answered.
        faults: What went wrong with a call, by signature (and `warm_up`).
        patient: Whether an answer that does not come in time is no fault of the
            release candidate's.
    """

    milliseconds: list[float] = field(default_factory=list)
    warmed: int = 0
    faults: dict[str, str] = field(default_factory=dict)
    patient: bool = True

    @contextlib.contextmanager
    def noting(self, name: str) -> Iterator[None]:
        """Notes a call that failed.

        Raises:
            ServingError: Nobody answers, the server takes no more requests, or gives no
                answer in time: of that the release candidate is innocent.
        """
        late = (DeadlineError,) if self.patient else ()
        try:
            yield
        except (UnavailableError, OverloadedError, *late):
            raise
        except ServingError as error:
            self.faults[name] = f"{error.code}: {error.details}"

    def warm_up(self, client: RecommenderClient, file: Path) -> None:
        """Sends the recorded requests."""
        with self.noting("warm_up"):
            for signature, inputs in warmup_requests(file):
                client.predict(signature, inputs)
                self.warmed += 1


def warmup_requests(file: Path) -> Iterator[tuple[str, Mapping[str, npt.NDArray[Any]]]]:
    """Yields signature and inputs of the recorded requests; none without the file."""
    if not file.exists():
        return
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        request = protos.PredictionLog.FromString(record).predict_log.request
        inputs = {name: from_proto(tensor) for name, tensor in request.inputs.items()}
        yield request.model_spec.signature_name, inputs
