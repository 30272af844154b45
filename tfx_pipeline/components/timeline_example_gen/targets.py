"""Held-out events and the slices that an evaluation looks at."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.components.timeline_example_gen import popularity
from tfx_pipeline.components.timeline_example_gen.catalogue_index import ALWAYS
from tfx_pipeline.components.timeline_example_gen.catalogue_index import CatalogueIndex
from tfx_pipeline.components.timeline_example_gen.config import MICROSECONDS_A_DAY
from tfx_pipeline.components.timeline_example_gen.encode import Feature
from tfx_pipeline.components.timeline_example_gen.encode import dictionary_stream
from tfx_pipeline.components.timeline_example_gen.encode import int_stream
from tfx_pipeline.components.timeline_example_gen.examples import Bucket
from tfx_pipeline.components.timeline_example_gen.hashing import hash_ids
from tfx_pipeline.components.timeline_example_gen.report import Counts
from tfx_pipeline.components.timeline_example_gen.splits import HeldOut
from transforms import features as f
from transforms.arrow import pa

ACTIVITY_EDGES = (1, 10, 50, 200)
ACTIVITY_NAMES = (f.NO_HISTORY.encode(), b"1-9", b"10-49", b"50-199", b"200+")
AGE_EDGES = tuple(days * MICROSECONDS_A_DAY for days in (1, 7, 30))
AGE_NAMES = (b"<1d", b"1-7d", b"7-30d", b"30d+", b"unknown")


def target_features(
    bucket: Bucket, held: HeldOut, index: CatalogueIndex, classes: bytes
) -> tuple[list[Feature], Counts]:
    """Returns targets and slices of a held-out split, and counts about them."""
    timelines = bucket.timelines
    rows = bucket.events.row[held.targets]
    codes = timelines.codes["entity"][rows]
    words = timelines.dictionaries
    distinct, inverse = np.unique(codes, return_inverse=True)
    hashes = hash_ids(words["entity"].take(pa.array(distinct)))
    known, available = (values[inverse] for values in index.find(hashes))
    popular = popularity.classify(classes, hashes)[inverse]
    time = timelines.timestamp[rows]
    age = age_class(time, available)
    activity = np.searchsorted(ACTIVITY_EDGES, held.end - held.start, side="right")
    streams = {
        f.TARGET_ENTITY: dictionary_stream(codes, words["entity"]),
        f.TARGET_TYPE: dictionary_stream(timelines.codes["event"][rows], words["event"]),
        f.TARGET_TIMESTAMP: int_stream(time),
        f.SLICE_TARGET_POPULARITY: dictionary_stream(popular, pa.array(popularity.NAMES)),
        f.SLICE_TARGET_AGE: dictionary_stream(age, pa.array(AGE_NAMES)),
    }
    features = [
        Feature(name, stream, held.offsets[:-1], held.offsets[1:])
        for name, stream in streams.items()
    ]
    one = np.arange(len(held.user))
    names = dictionary_stream(activity, pa.array(ACTIVITY_NAMES))
    features.append(Feature(f.SLICE_ACTIVITY, names, one, one + 1))
    first_time = np.repeat(time[held.offsets[:-1]], np.diff(held.offsets))
    return features, {
        "count": len(rows),
        "not_in_catalogue": int((~known).sum()),
        "not_yet_available_at_request": int((available > first_time).sum()),
        "seen_before": _seen_before(bucket, held),
    }


def age_class(time: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Returns [n] int64, which of `AGE_NAMES` entities have at a time.

    Args:
        time: [n] int64, microseconds.
        available: [n] int64, since when they are available; `ALWAYS` is unknown.
    """
    age = np.searchsorted(AGE_EDGES, time - np.maximum(available, 0), side="right")
    return np.where(available == ALWAYS, len(AGE_NAMES) - 1, age)


def _seen_before(bucket: Bucket, held: HeldOut) -> int:
    """Counts targets whose entity is in the user's history already."""
    entity = bucket.timelines.codes["entity"][bucket.events.row]
    key = bucket.events.user.astype(np.int64) << 32 | entity
    end = np.zeros(len(bucket.timelines.users), np.int64)
    end[held.user] = held.end
    history = np.arange(len(key)) < end[bucket.events.user]
    return int(np.isin(key[held.targets], key[history]).sum())
