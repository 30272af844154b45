"""Page examples: held-out pages, each with its candidates and the user's whole life before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfx_pipeline.components.timeline_example_gen import pages as page_rows
from tfx_pipeline.components.timeline_example_gen import popularity
from tfx_pipeline.components.timeline_example_gen.examples import ACTIVITY_EDGES
from tfx_pipeline.components.timeline_example_gen.examples import ACTIVITY_NAMES
from tfx_pipeline.components.timeline_example_gen.examples import AGE_NAMES
from tfx_pipeline.components.timeline_example_gen.examples import Bucket
from tfx_pipeline.components.timeline_example_gen.examples import age_class
from tfx_pipeline.components.timeline_example_gen.examples import ranges
from tfx_pipeline.components.timeline_example_gen.negatives import Items
from tfx_pipeline.components.timeline_example_gen.report import Counts
from tfx_pipeline.components.timeline_example_gen.splits import draw_users
from tfx_pipeline.components.timeline_example_gen.splits import is_of_type
from tfx_pipeline.datasets.catalogue_index import CatalogueIndex
from tfx_pipeline.datasets.columns import list_offsets
from tfx_pipeline.datasets.row_hash import hash_ids
from tfx_pipeline.examples.encode import Feature
from tfx_pipeline.examples.encode import Stream
from tfx_pipeline.examples.encode import bytes_stream
from tfx_pipeline.examples.encode import dictionary_stream
from tfx_pipeline.examples.encode import encode_examples
from tfx_pipeline.examples.encode import int_stream
from transforms import features as f
from transforms.arrow import pa
from transforms.label_config import LabelConfig

VALUES_A_BATCH = 1 << 18  # events and candidates that are encoded at a time
QUERY_NAMES = (b"without", b"with")
_HISTORY = (f.EVENT_ENTITY, f.EVENT_TYPE, f.EVENT_TIMESTAMP, f.EVENT_QUERY, f.EVENT_VALUE)


class PageExamples(NamedTuple):
    """The pages of a held-out split, by user and time.

    Attributes:
        user: [P] int64.
        row: [P] int64, the row of the timelines that has a page's time and query.
        history: [P] int64, the user's events that came before.
        offsets: [P + 1] int64, where each page's candidates start.
        names: [V] binary, names of entities.
        candidate: [C] int64, the candidates, numbers of names.
        position: [C] int64, -1 where there is none.
        label: [C] int64, bit h is head h.
        left_out: Candidates behind the last that a page keeps.
        not_candidates: Events of `events` that make no page: their entities are no candidates.
        users_left_out: Users with pages who are not drawn.
    """

    user: np.ndarray
    row: np.ndarray
    history: np.ndarray
    offsets: np.ndarray
    names: pa.Array
    candidate: np.ndarray
    position: np.ndarray
    label: np.ndarray
    left_out: int = 0
    not_candidates: int = 0
    users_left_out: int = 0


class Slices(NamedTuple):
    """Properties of candidates that an evaluation divides them by.

    Attributes:
        known: [C] bool, whether the catalogue has the candidate.
        popularity: [C] int8, one of `popularity.NAMES`.
        age: [C] int64, one of `examples.AGE_NAMES`.
    """

    known: np.ndarray
    popularity: np.ndarray
    age: np.ndarray


def held_out_pages(
    bucket: Bucket, split: int, label: LabelConfig, items: Items, most_users: int = 0
) -> PageExamples:
    """Returns the pages of a split.

    Args:
        bucket: The bucket.
        split: `pages.VALIDATION` or `pages.TEST`.
        label: Which rows there are, and when they are positive.
        items: The candidates of `events`.
        most_users: Pages of so many users are kept (`draw_users`); 0 is all.
    """
    if label.source == "impressions":
        return _of_impressions(bucket, split, label, most_users)
    return _of_events(bucket, split, label, items, most_users)


def count(pages: PageExamples, slices: Slices, label: LabelConfig) -> Counts:
    """Returns counts of a split's pages for the report."""
    page = np.repeat(np.arange(len(pages.user)), np.diff(pages.offsets))
    labelled = np.unique(page[pages.label > 0])
    return {
        "examples": len(pages.user),
        "users": len(np.unique(pages.user)),
        "users_left_out": pages.users_left_out,
        "candidates": len(pages.candidate),
        "candidates_over_the_limit": pages.left_out,
        "candidates_not_in_catalogue": int((~slices.known).sum()),
        "events_not_candidates": pages.not_candidates,
        "without_label": len(pages.user) - len(labelled),
        **{
            f"labels/{head}": int((pages.label >> bit & 1).sum())
            for bit, head in enumerate(label.heads)
        },
    }


def count_training_events(bucket: Bucket, label: LabelConfig, items: Items) -> Counts:
    """Returns counts of what a model of `values` or `events` is trained on, as those of pages."""
    chosen, left_out = _labelled_events(bucket, page_rows.TRAIN, label, items)
    if label.source == "events":
        return {"events_not_candidates": left_out}
    rows = bucket.events.row[chosen]
    positive = _is_positive(bucket.timelines.value[rows], label)
    (head,) = label.heads
    return {"candidates": len(rows), f"labels/{head}": int(positive.sum())}


def slice_candidates(
    bucket: Bucket, pages: PageExamples, index: CatalogueIndex, classes: bytes
) -> Slices:
    """Looks up how popular candidates are, and how old at the time of their page."""
    distinct, inverse = np.unique(pages.candidate, return_inverse=True)
    hashes = hash_ids(pages.names.take(pa.array(distinct)))
    known, available = (values[inverse] for values in index.find(hashes))
    popular = popularity.classify(classes, hashes)[inverse]
    time = np.repeat(bucket.timelines.timestamp[pages.row], np.diff(pages.offsets))
    return Slices(known, popular, age_class(time, available))


def records(
    bucket: Bucket, pages: PageExamples, slices: Slices, most_events: int
) -> Iterator[pa.LargeBinaryArray]:
    """Yields serialised page examples, a bounded number of values at a time.

    A user's history is written again with each page, so it is not there for all at once.

    Args:
        bucket: The bucket.
        pages: Its pages.
        slices: Of their candidates.
        most_events: The newest events before a page that are written.
    """
    values = np.minimum(pages.history, most_events) + np.diff(pages.offsets) + 1
    batch = np.cumsum(values) // VALUES_A_BATCH
    edges = np.flatnonzero(np.diff(batch, prepend=-1, append=-1))
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        yield encode_examples(_features(bucket, pages, slices, most_events, first, last))


def _of_impressions(
    bucket: Bucket, split: int, label: LabelConfig, most_users: int
) -> PageExamples:
    pages = bucket.pages
    assert pages.label is not None
    chosen = np.flatnonzero(bucket.page_split == split)
    chosen, users_left_out = _of_drawn_users(bucket, chosen, pages.user, most_users)
    shown = np.diff(pages.offsets)[chosen]
    sizes = np.minimum(shown, label.width)
    kept = ranges(pages.offsets[:-1][chosen], sizes)
    codes = bucket.timelines.codes["entity"][pages.impression_row[kept]]
    return PageExamples(
        user=pages.user[chosen],
        row=pages.row[chosen],
        history=pages.history[chosen],
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        names=bucket.timelines.dictionaries["entity"],
        candidate=codes.astype(np.int64),
        position=pages.position[kept],
        label=pages.label[kept],
        left_out=int((shown - sizes).sum()),
        users_left_out=users_left_out,
    )


def _of_events(
    bucket: Bucket, split: int, label: LabelConfig, items: Items, most_users: int
) -> PageExamples:
    timelines, events = bucket.timelines, bucket.events
    chosen, left_out = _labelled_events(bucket, split, label, items)
    chosen, users_left_out = _of_drawn_users(bucket, chosen, events.user, most_users)
    user, row = events.user[chosen].astype(np.int64), events.row[chosen]
    history = chosen - events.offsets[user]
    names = timelines.dictionaries["entity"]
    candidate = timelines.codes["entity"][row].astype(np.int64)[:, None]  # [P, 1]
    if label.source == "values":
        positive = _is_positive(timelines.value[row][:, None], label)
    else:
        users, time = hash_ids(timelines.users)[user], timelines.timestamp[row]
        drawn = items.draw(users, history, time, label.negatives)
        again = items.hashes[drawn] == hash_ids(names)[candidate]
        positive = np.concatenate([np.ones_like(candidate, bool), again], axis=1)
        candidate = np.concatenate([candidate, len(names) + drawn], axis=1)
        names = pa.concat_arrays([names, items.names])
    return PageExamples(
        user=user,
        row=row,
        history=history,
        offsets=np.arange(len(user) + 1) * candidate.shape[1],
        names=names,
        candidate=candidate.reshape(-1),
        position=np.full(candidate.size, -1),
        label=positive.reshape(-1).astype(np.int64),
        not_candidates=left_out,
        users_left_out=users_left_out,
    )


def _of_drawn_users(
    bucket: Bucket, chosen: np.ndarray, user: np.ndarray, most: int
) -> tuple[np.ndarray, int]:
    """Keeps the rows [n] of users who are drawn, `user` being that of each; counts the others."""
    drawn = draw_users(bucket.timelines, user[chosen], most)
    return chosen[drawn], len(np.unique(user[chosen[~drawn]]))


def _labelled_events(
    bucket: Bucket, split: int, label: LabelConfig, items: Items
) -> tuple[np.ndarray, int]:
    """Finds the events of a split that `values` or `events` make pages of.

    Returns:
        [P] int64, the events; and how many `events` leaves out, being of no candidate.
    """
    timelines, events = bucket.timelines, bucket.events
    of_split = page_rows.split_of(events.row, events.user, bucket.cuts)
    chosen = (of_split == split) & is_of_type(timelines, events.row, label.events)
    if label.source == "values":
        chosen &= timelines.value[events.row] != 0  # 0 is no value
        return np.flatnonzero(chosen), 0
    candidate = items.hold(timelines.dictionaries["entity"])[timelines.codes["entity"][events.row]]
    return np.flatnonzero(chosen & candidate), int((chosen & ~candidate).sum())


def _is_positive(value: np.ndarray, label: LabelConfig) -> np.ndarray:
    """Says of each value, float32, whether it is a positive label; bool of the same shape."""
    positive: np.ndarray = value >= np.float32(label.at_least)
    return positive


def _features(
    bucket: Bucket, pages: PageExamples, slices: Slices, most_events: int, first: int, last: int
) -> list[Feature]:
    """Returns the features of the pages from `first` to before `last`."""
    timelines, shared = bucket.timelines, bucket.streams
    user, row, history = (column[first:last] for column in (pages.user, pages.row, pages.history))
    one = np.arange(len(user))
    attributes = list_offsets(timelines.attributes)
    query = timelines.codes["query"][row]
    end = bucket.events.offsets[user] + history
    start = end - np.minimum(history, most_events)
    bounds = pages.offsets[first : last + 1]
    inside = slice(bounds[0], bounds[-1])
    edges = bounds - bounds[0]
    activity = np.searchsorted(ACTIVITY_EDGES, history, side="right")
    by_page = {
        f.REQUEST_TIME: int_stream(timelines.timestamp[row]),
        f.REQUEST_QUERY: _taken(timelines.dictionaries["query"], query),
        f.SLICE_HISTORY: dictionary_stream(activity, pa.array(ACTIVITY_NAMES)),
        f.SLICE_QUERY: dictionary_stream(query >= 0, pa.array(QUERY_NAMES)),
    }
    by_candidate = {
        f.CANDIDATE_ENTITY: _taken(pages.names, pages.candidate[inside]),
        f.CANDIDATE_POSITION: int_stream(pages.position[inside]),
        f.LABEL_EVENTS: int_stream(pages.label[inside]),
        f.SLICE_CANDIDATE_POPULARITY: dictionary_stream(
            slices.popularity[inside], pa.array(popularity.NAMES)
        ),
        f.SLICE_CANDIDATE_AGE: dictionary_stream(slices.age[inside], pa.array(AGE_NAMES)),
    }
    attribute_stream = shared[f.USER_ATTRIBUTES]
    return [
        Feature(f.USER_ID, shared[f.USER_ID], user, user + 1),
        Feature(f.USER_ATTRIBUTES, attribute_stream, attributes[user], attributes[user + 1]),
        *(Feature(name, shared[name], start, end) for name in _HISTORY),
        *(Feature(name, stream, one, one + 1) for name, stream in by_page.items()),
        *(Feature(name, stream, edges[:-1], edges[1:]) for name, stream in by_candidate.items()),
    ]


def _taken(words: pa.Array, codes: np.ndarray) -> Stream:
    """Returns the stream of `words[codes]`, a negative code being the empty string.

    Unlike `dictionary_stream` it reads no other word, of which there may be far more.
    """
    return bytes_stream(words.take(pa.array(codes, mask=codes < 0)).fill_null(b""))
