"""What a server answers to the requests of the check; judges nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import time
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from serving.client import DeadlineError
from serving.client import OverloadedError
from serving.client import Recommendation
from serving.client import RecommenderClient
from serving.client import Request
from serving.client import ServingError
from serving.client import UnavailableError
from serving.client import protos
from serving.client import query_inputs
from serving.client.tensors import from_proto

ALL = sys.maxsize  # results of a request: as many as the servable returns
_EXCLUDED = 5  # of the best items, that are asked to be left out


@dataclass
class Answers:
    """What came back.

    Attributes:
        recommended: To each request, one at a time.
        milliseconds: How long each of them took.
        examples: To each serialised timeline, from `serving_default`.
        excluding: The requests again, each without the best of its first answer.
        excluded: To those.
        embeddings: [B, d] or [B, K, d] float32, from `embed_query`.
        warmed: Warm-up requests that were answered.
        faults: What went wrong with a call, by signature (and `warm_up`).
    """

    recommended: list[Recommendation] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    examples: list[Recommendation] = field(default_factory=list)
    excluding: list[Request] = field(default_factory=list)
    excluded: list[Recommendation] = field(default_factory=list)
    embeddings: npt.NDArray[np.float32] | None = None
    warmed: int = 0
    faults: dict[str, str] = field(default_factory=dict)


def ask(
    client: RecommenderClient,
    requests: Sequence[Request],
    timelines: Sequence[bytes],
    warmup_file: Path,
    max_rows: int = 256,
    patient: bool = True,
) -> Answers:
    """Sends warm-up requests and every kind of request.

    Args:
        client: A client of a server that has loaded the candidate.
        requests: Made of the timelines.
        timelines: Serialised raw timelines.
        warmup_file: Recorded requests; may be missing.
        max_rows: Rows of one call.
        patient: Whether an answer that does not come in time is no fault of the
            candidate's.

    Returns:
        The answers; a call that failed for the candidate's sake is a fault in them.

    Raises:
        ServingError: Nobody answers, the server takes no more requests, or gives
            no answer in time: of that the candidate is innocent.
    """
    answers = Answers()
    innocent = (UnavailableError, OverloadedError, *((DeadlineError,) if patient else ()))
    noting = functools.partial(_noting, answers.faults, innocent)
    with noting("warm_up"):
        for signature, inputs in warmup_requests(warmup_file):
            client.predict(signature, inputs)
            answers.warmed += 1
    with noting("recommend"):
        for request in requests:
            start = time.perf_counter()
            answers.recommended += client.recommend_batch([request], ALL)
            answers.milliseconds.append(1e3 * (time.perf_counter() - start))
        answers.excluding = [
            dataclasses.replace(request, exclude_ids=answer.ids[:_EXCLUDED])
            for request, answer in zip(requests, answers.recommended, strict=True)
        ]
        answers.excluded = client.recommend_batch(answers.excluding, ALL)
    with noting("serving_default"):
        answers.examples = client.recommend_examples(timelines, ALL)
    with noting("embed_query"):
        answers.embeddings = _embed(client, requests, max_rows)
    return answers


def _embed(
    client: RecommenderClient, requests: Sequence[Request], max_rows: int
) -> npt.NDArray[np.float32] | None:
    """Returns the embeddings of requests; nothing if there is no such output."""
    parts = []
    for start in range(0, len(requests), max_rows):
        inputs = query_inputs(requests[start : start + max_rows])
        outputs = client.predict("embed_query", inputs).outputs
        if "embedding" not in outputs:
            return None
        parts.append(outputs["embedding"])
    return np.concatenate(parts)


def warmup_requests(file: Path) -> Iterator[tuple[str, Mapping[str, npt.NDArray[Any]]]]:
    """Yields signature and inputs of the recorded requests; none without the file."""
    if not file.exists():
        return
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        request = protos.PredictionLog.FromString(record).predict_log.request
        inputs = {name: from_proto(tensor) for name, tensor in request.inputs.items()}
        yield request.model_spec.signature_name, inputs


@contextlib.contextmanager
def _noting(
    faults: dict[str, str], innocent: tuple[type[ServingError], ...], name: str
) -> Iterator[None]:
    """Notes a call that failed, unless the candidate is innocent of that."""
    try:
        yield
    except innocent:
        raise
    except ServingError as error:
        faults[name] = f"{error.code}: {error.details}"
