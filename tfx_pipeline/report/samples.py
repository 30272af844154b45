"""Asks the exported servables in this process what a few test users would see."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorflow.core.example import example_pb2

from serving.index.embedding.records import split_files
from serving.publishing.requests import dense_inputs
from serving.publishing.requests import values_of
from tfx_pipeline.components.request_examples import request_examples
from tfx_pipeline.components.serving_validator.release_candidate import ReleaseCandidateError
from tfx_pipeline.components.serving_validator.release_candidate import load_here
from tfx_pipeline.components.serving_validator.release_candidate import run_here
from tfx_pipeline.datasets.images import image_faults
from tfx_pipeline.datasets.user_history import read_images
from tfx_pipeline.datasets.user_history import read_index_titles
from tfx_pipeline.datasets.user_history import read_titles
from tfx_pipeline.report.facts import GENERATOR
from tfx_pipeline.report.gather import Missing
from tfx_pipeline.runners.recorded import RecordedRun
from tfx_pipeline.stages.table import STAGES
from transforms import features as f
from transforms.arrow import pa
from transforms.storage import place

USERS = 10
RECOMMENDED = 10
_RECENT = 5  # events of the history that are shown
_SIDE = 72  # pixels of an image
_QUALITY = 70
SERVABLES = {  # node and output that hold the servable of a stage
    "retrieval": ("servable-builder", "servable"),
    "ranking": ("ranking-trainer", "model"),
}
_SERVABLE = "Format-Serving"  # where TFX puts a SavedModel into a `Model`
_CANDIDATES = "index/candidates.parquet"


@dataclass(frozen=True)
class Item:
    """Something that a user did or is shown.

    Attributes:
        entity: `type:id`.
        title: Its title, or the entity.
        note: The event of a history, or the scores.
        hit: Whether the user took it in the held-out period.
        image: A data URI; "" without one.
    """

    entity: str
    title: str
    note: str
    hit: bool = False
    image: str = ""


@dataclass(frozen=True)
class Sample:
    """A test user and what a servable answers.

    Attributes:
        user: The id.
        events: Length of the history.
        history: The newest events, newest first.
        shown: The answer, best first.
        held_out: How many entities the user took in the held-out period.
    """

    user: str
    events: int
    history: tuple[Item, ...]
    shown: tuple[Item, ...]
    held_out: int


@dataclass(frozen=True)
class Samples:
    """Answers to a few users.

    Attributes:
        asked: Who answered, in a sentence.
        users: The users.
        remark: Why there are no images or titles, where that is so.
    """

    asked: str
    users: tuple[Sample, ...]
    remark: str = ""


def gather_samples(run: RecordedRun) -> Samples | Missing:
    """Asks the servables of a run about test users; the ranker alone about pages."""
    places = {name: servable_of(run, name) for name in STAGES}
    retrieval, ranking = places["retrieval"], places["ranking"]
    asked = "retrieval" if retrieval else "ranking"
    examples = run.output(GENERATOR, "examples")
    if not (retrieval or ranking):
        return Missing(run.why_missing(*SERVABLES["retrieval"]))
    if examples is None:
        return Missing(run.why_missing(GENERATOR, "examples"))
    try:
        files = split_files(examples / f"Split-{STAGES[asked].test_split}")
        raw = request_examples(files, USERS)
        users = [example_pb2.Example.FromString(one) for one in raw]
        answer = _recommend(users, retrieval, ranking) if retrieval else _rank_pages(users, ranking)
    except (OSError, ReleaseCandidateError) as error:
        return Missing(f"The servable of the stage {asked} cannot be asked: {error}")
    words = "The servable of the retrieval stage" if retrieval else "The ranker"
    then = ", in the order of the ranker" if retrieval and ranking else ""
    titled, remark = with_catalogue(run, answer, retrieval)
    what = "recommended" if retrieval else "put candidates of a page in this order"
    return Samples(f"{words} {what}{then}; asked in process, as it was exported.", titled, remark)


def servable_of(run: RecordedRun, stage: str) -> Path | None:
    """Returns the SavedModel of a stage, if it was made and is there still."""
    output = run.output(*SERVABLES[stage])
    place = output / _SERVABLE if output else None
    return place if place and place.is_dir() else None


def _recommend(
    users: Sequence[example_pb2.Example], retrieval: Path, ranking: Path | None
) -> list[Sample]:
    """Asks for recommendations, and a ranker, if there is one, for their order."""
    recommend = load_here(retrieval).signatures["recommend"]
    rank = load_here(ranking).signatures["rank"] if ranking else None
    samples = []
    for user in users:
        answer = run_here(recommend, dense_inputs("recommend", [user]))
        rows = [
            (name.decode(), f"{score:.3f}")
            for name, score in zip(answer["ids"][0], answer["scores"][0], strict=True)
            if name
        ]
        if rank is not None and rows:
            rows = _ranked(rank, user, rows)
        taken = {name.decode() for name in values_of(user, f.TARGET_ENTITY)}
        samples.append(_sample(user, rows[:RECOMMENDED], taken))
    return samples


def _ranked(
    rank: Any, user: example_pb2.Example, rows: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    ids = np.array([[name.encode() for name, _ in rows]], object)
    inputs = dense_inputs("rank", [user]) | {
        "candidate_ids": ids,
        "candidate_length": np.array([len(rows)], np.int64),
        "candidate_rows": np.full(ids.shape, b"", object),
    }
    scores = run_here(rank, inputs)["scores"][0, : len(rows)]
    return [
        (rows[index][0], f"{scores[index]:.3f} (retrieval {rows[index][1]})")
        for index in np.argsort(-scores, kind="stable")
    ]


def _rank_pages(pages: Sequence[example_pb2.Example], ranking: Path | None) -> list[Sample]:
    """Asks a ranker to put the candidates of pages in order."""
    assert ranking is not None
    rank = load_here(ranking).signatures["rank"]
    samples = []
    for page in pages:
        names = [name.decode() for name in values_of(page, f.CANDIDATE_ENTITY)]
        scores = run_here(rank, dense_inputs("rank", [page]))["scores"][0, : len(names)]
        order = np.argsort(-scores, kind="stable")
        labels = values_of(page, f.LABEL_EVENTS)
        taken = {name for name, label in zip(names, labels, strict=True) if label}
        rows = [(names[index], f"{scores[index]:.3f}") for index in order]
        samples.append(_sample(page, rows[:RECOMMENDED], taken))
    return samples


def _sample(user: example_pb2.Example, rows: Iterable[tuple[str, str]], taken: set[str]) -> Sample:
    entities = [name.decode() for name in values_of(user, f.EVENT_ENTITY)]
    events = [name.decode() for name in values_of(user, f.EVENT_TYPE)]
    newest = islice(zip(reversed(entities), reversed(events), strict=True), _RECENT)
    (name,) = values_of(user, f.USER_ID) or [b"?"]
    return Sample(
        name.decode(),
        len(entities),
        tuple(Item(entity, entity, event) for entity, event in newest),
        tuple(Item(entity, entity, note, entity in taken) for entity, note in rows),
        len(taken),
    )


def with_catalogue(
    run: RecordedRun, samples: Sequence[Sample], servable: Path | None
) -> tuple[tuple[Sample, ...], str]:
    """Fills in titles and images, and says where there are none.

    Args:
        run: Whose event log has them.
        samples: Users and answers, whose items are named only.
        servable: An index, whose titles go before those of the log.

    Returns:
        The samples with them, and a remark: "" where there are images.
    """
    wanted = {item.entity for one in samples for item in (*one.history, *one.shown)}
    titles = read_index_titles(servable / _CANDIDATES, wanted) if servable else {}
    address = str(run.steps[GENERATOR].properties.get("log_dir", ""))
    images: dict[str, str] = {}
    try:
        log = place(address)
        titles = {**read_titles(log, wanted - titles.keys()), **titles}
        images = thumbnails(read_images(log, wanted))
        remark = "" if images else f"There are no images of them in the event log {address}."
    except (OSError, ValueError) as error:
        remark = f"There are no images, for the event log {address} cannot be read: {error}"

    def filled(items: Iterable[Item]) -> tuple[Item, ...]:
        return tuple(
            replace(
                item,
                title=titles.get(item.entity, item.entity),
                image=images.get(item.entity, ""),
            )
            for item in items
        )

    done = [replace(one, history=filled(one.history), shown=filled(one.shown)) for one in samples]
    return tuple(done), remark


def thumbnails(images: Mapping[str, bytes]) -> dict[str, str]:
    """Returns images as small JPEGs in data URIs; those that do not decode are left out."""
    names = list(images)
    faults = image_faults(pa.array([images[name] for name in names], pa.binary()))
    return {
        name: _data_uri(images[name])
        for name, fault in zip(names, faults, strict=True)
        if not fault
    }


def _data_uri(image: bytes) -> str:
    with Image.open(io.BytesIO(image), formats=("JPEG", "PNG")) as opened:
        small = opened.convert("RGB")
        small.thumbnail((_SIDE, _SIDE))
        sink = io.BytesIO()
        small.save(sink, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(sink.getvalue()).decode()}"
