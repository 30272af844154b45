"""Click rates of entities are those that are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.examples import example
from tfx_pipeline.evaluation.click_rates import PRIOR
from tfx_pipeline.evaluation.click_rates import ClickRates
from tfx_pipeline.evaluation.click_rates import write_click_rates
from transforms import features as f
from transforms.arrow import pa
from transforms.label_config import LabelConfig


def rates_of(path, timelines, label, entities):
    """[n, H], the rates that are read back."""
    (path / "train").mkdir()
    with tf.io.TFRecordWriter(str(path / "train" / "a.gz"), "GZIP") as writer:
        for timeline in timelines:
            writer.write(timeline)
    write_click_rates(path / "train", path / "rates.parquet", label, 10**6)
    return ClickRates(path / "rates.parquet").look_up(pa.array(entities, pa.binary()))


def smoothed(positives, candidates, mean):
    return (positives + PRIOR * mean) / (candidates + PRIOR)


def test_impressions_of_two_heads(tmp_path):
    timelines = [
        example(**{f.IMPRESSION_ENTITY: ["a", "b", "a"], f.IMPRESSION_EVENTS: [1, 3, 0]}),
        example(**{f.IMPRESSION_ENTITY: ["a"], f.IMPRESSION_EVENTS: [2]}),
        example(**{f.EVENT_ENTITY: ["a"]}),
    ]
    label = LabelConfig(events=("click", "buy"))
    found = rates_of(tmp_path, timelines, label, [b"b", b"a", b"new"])

    mean = (2 + 1) / (4 + 2)  # of clicks and, by chance, of buys
    of_a = smoothed(1, 3, mean)
    of_b = smoothed(1, 1, mean)
    assert found == pytest.approx(np.array([[of_b] * 2, [of_a] * 2, [mean] * 2]), abs=1e-7)
    assert found.dtype == np.float32


EVENTS = [
    example(
        **{
            f.EVENT_ENTITY: ["a", "b", "a", "b"],
            f.EVENT_TYPE: ["rate", "rate", "rate", "view"],
            f.EVENT_VALUE: [5.0, 3.0, 0.0, 5.0],
        }
    ),
    example(
        **{
            f.EVENT_ENTITY: ["b", "a", "a"],  # the first is context of the chunk before
            f.EVENT_TYPE: ["rate"] * 3,
            f.EVENT_VALUE: [5.0, 4.0, 1.0],
            f.CONTEXT_LENGTH: 1,
        }
    ),
]


def test_values_from_a_bound_on_are_positive(tmp_path):
    label = LabelConfig(source="values", events=("rate",), at_least=4.0)
    found = rates_of(tmp_path, EVENTS, label, [b"a", b"b"])

    mean = (2 + 1) / (4 + 2)  # 0 is no value, `view` no event of the label
    wanted = [[smoothed(2, 3, mean)], [smoothed(0, 1, mean)]]
    assert found == pytest.approx(np.array(wanted), abs=1e-7)


def test_events_stand_among_their_random_negatives(tmp_path):
    label = LabelConfig(source="events", events=("*",), negatives=4)
    found = rates_of(tmp_path, EVENTS, label, [b"a", b"b", b"new"])

    # 6 events, of a 4 and of b 2; each of the two is half of the 24 random negatives.
    mean = (6 + 1) / (30 + 2)
    wanted = [[smoothed(4, 4 + 12, mean)], [smoothed(2, 2 + 12, mean)], [smoothed(0, 12, mean)]]
    assert found == pytest.approx(np.array(wanted), abs=1e-7)


def test_no_timelines_are_named(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(FileNotFoundError, match="run the generator again"):
        write_click_rates(tmp_path / "train", tmp_path / "rates.parquet", LabelConfig(), 10)
