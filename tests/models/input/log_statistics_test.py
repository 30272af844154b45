"""Tests of the counts from which defaults follow, and of both switches of the template."""

from __future__ import annotations

import tensorflow as tf

from models.defaults import is_whole
from models.defaults import keys_of
from models.input.log_statistics import log_statistics
from models.trainer import resolved
from tfx_pipeline.config_file import load_config
from transforms import features as f


def test_counts_are_those_of_the_raw_timelines(log):
    timelines = [
        [
            item.decode()
            for item in tf.train.Example.FromString(one)
            .features.feature[f.EVENT_ENTITY]
            .bytes_list.value
        ]
        for one in log.raw["train"]
    ]
    counts = log_statistics(log.data)
    assert counts.users == len(timelines) == 60
    assert counts.events == counts.targets == sum(map(len, timelines)) == 600
    assert counts.items == len({item for items in timelines for item in items})
    repeats = sum(len(items) - len(set(items)) for items in timelines)
    assert repeats and counts.repeats == repeats / 600
    assert counts.long_history == 10
    assert not counts.has_times  # its days count from 1970


def test_both_switches_of_the_template_resolve_on_a_log_and_say_why(log):
    for family in ("two_tower", "sequence"):
        name = f"retrieval.trainer.model={family}"
        whole, report = resolved(load_config("template", (name,)).retrieval.trainer, log.data)
        assert whole.model.family == family and is_whole(whole)
        assert set(report["chosen"]) == set(keys_of(family))
        assert report["log"]["users"] == 60
        assert resolved(whole, log.data) == (whole, {})  # nothing was left out
