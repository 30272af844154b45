"""The features of timelines, out of a sorted bucket."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.components.timeline_example_gen.encode import Feature
from tfx_pipeline.components.timeline_example_gen.encode import Stream
from tfx_pipeline.components.timeline_example_gen.encode import bytes_stream
from tfx_pipeline.components.timeline_example_gen.encode import dictionary_stream
from tfx_pipeline.components.timeline_example_gen.encode import float_stream
from tfx_pipeline.components.timeline_example_gen.encode import int_stream
from tfx_pipeline.components.timeline_example_gen.examples import Bucket
from tfx_pipeline.components.timeline_example_gen.examples import Examples
from tfx_pipeline.components.timeline_example_gen.splits import Events
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines
from tfx_pipeline.datasets.columns import list_offsets
from transforms import features as f


def shared_streams(timelines: Timelines, events: Events) -> dict[str, Stream]:
    """Encodes users and events once; the splits take slices."""
    codes = {name: timelines.codes[name][events.row] for name in ("entity", "event", "query")}
    words = timelines.dictionaries
    return {
        f.USER_ID: bytes_stream(timelines.users),
        f.USER_ATTRIBUTES: bytes_stream(timelines.attributes.flatten()),
        f.EVENT_ENTITY: dictionary_stream(codes["entity"], words["entity"]),
        f.EVENT_TYPE: dictionary_stream(codes["event"], words["event"]),
        f.EVENT_QUERY: dictionary_stream(codes["query"], words["query"]),
        f.EVENT_TIMESTAMP: int_stream(timelines.timestamp[events.row]),
        f.EVENT_VALUE: float_stream(timelines.value[events.row]),
    }


def timeline_features(
    bucket: Bucket,
    examples: Examples,
    request_time: np.ndarray,
    request_query: np.ndarray,
    with_labels: bool = False,
) -> list[Feature]:
    """Returns what every timeline has, held out or not.

    Args:
        bucket: The bucket.
        examples: The examples of a split.
        request_time: [B] int64, microseconds.
        request_query: [B] int32, codes of queries, -1 for none.
        with_labels: Whether impressions have their labels, where the bucket has any.
    """
    one = np.arange(len(examples.user))
    attributes = list_offsets(bucket.timelines.attributes)
    queries = dictionary_stream(request_query, bucket.timelines.dictionaries["query"])
    shared = bucket.streams
    user = examples.user
    return [
        Feature(f.USER_ID, shared[f.USER_ID], user, user + 1),
        Feature(
            f.USER_ATTRIBUTES, shared[f.USER_ATTRIBUTES], attributes[user], attributes[user + 1]
        ),
        Feature(f.CHUNK, int_stream(examples.chunk), one, one + 1),
        Feature(f.CONTEXT_LENGTH, int_stream(examples.context), one, one + 1),
        Feature(f.REQUEST_TIME, int_stream(request_time), one, one + 1),
        Feature(f.REQUEST_QUERY, queries, one, one + 1),
        *(
            Feature(name, shared[name], examples.start, examples.end)
            for name in (
                f.EVENT_ENTITY,
                f.EVENT_TYPE,
                f.EVENT_TIMESTAMP,
                f.EVENT_QUERY,
                f.EVENT_VALUE,
            )
        ),
        *_page_features(bucket, examples, with_labels),
    ]


def _page_features(bucket: Bucket, examples: Examples, with_labels: bool) -> list[Feature]:
    timelines, pages, chosen = bucket.timelines, bucket.pages, examples.pages
    rows = pages.row[chosen]
    edges = np.searchsorted(examples.page_example, np.arange(len(examples.user) + 1))
    sizes = np.diff(pages.offsets)[chosen]
    impressions = ranges(pages.offsets[:-1][chosen], sizes)
    shown = pages.impression_row[impressions]
    first_page = edges[:-1][examples.page_example]
    page = np.repeat(np.arange(len(chosen)) - first_page, sizes)  # within the example
    shown_edges = np.concatenate([[0], np.cumsum(sizes)])[edges]
    words, codes = timelines.dictionaries, timelines.codes
    by_page = {
        f.PAGE_ID: dictionary_stream(codes["page"][rows], words["page"]),
        f.PAGE_TIMESTAMP: int_stream(timelines.timestamp[rows]),
        f.PAGE_QUERY: dictionary_stream(codes["query"][rows], words["query"]),
        f.PAGE_HISTORY_LENGTH: int_stream(examples.page_history),
    }
    by_impression = {
        f.IMPRESSION_PAGE: int_stream(page),
        f.IMPRESSION_POSITION: int_stream(pages.position[impressions]),
        f.IMPRESSION_ENTITY: dictionary_stream(codes["entity"][shown], words["entity"]),
        f.IMPRESSION_CLICKED: int_stream(pages.clicked[impressions]),
    }
    if with_labels and pages.label is not None:
        by_impression[f.IMPRESSION_EVENTS] = int_stream(pages.label[impressions])
    return [
        Feature(name, stream, offsets[:-1], offsets[1:])
        for streams, offsets in ((by_page, edges), (by_impression, shown_edges))
        for name, stream in streams.items()
    ]


def ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns the concatenation of `arange(start, start + size)`."""
    before = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) + np.repeat(starts - before, sizes)
