from __future__ import annotations

from benchmarks.transform_throughput import make_catalogue
from benchmarks.transform_throughput import make_timelines
from transforms import features as f
from transforms.fields import BY_NAME


def test_the_synthetic_log_has_the_events_asked_for_and_known_features():
    timelines = list(make_timelines(events=500, users=20, items=30, seed=0))
    assert len(timelines) == 20
    assert sum(len(one[f.EVENT_ENTITY]) for one in timelines) == 500
    assert min(len(one[f.EVENT_ENTITY]) for one in timelines) >= 1
    for one in timelines:
        assert one.keys() <= BY_NAME.keys()
        assert one[f.EVENT_TIMESTAMP] == sorted(one[f.EVENT_TIMESTAMP])
    catalogue = list(make_catalogue(items=30, seed=0))
    assert {row[f.CATALOGUE_ENTITY][0] for row in catalogue} >= {
        entity for one in timelines for entity in one[f.EVENT_ENTITY]
    }
    assert catalogue[0].keys() <= BY_NAME.keys()
