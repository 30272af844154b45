"""The configuration of the evaluation names mistakes."""

from __future__ import annotations

import pytest

from tfx_pipeline.evaluation.config import RetrievalEvaluationConfig
from tfx_pipeline.evaluation.config import format_slice
from tfx_pipeline.evaluation.config import parse_slice


def test_the_nearest_metric_is_named():
    with pytest.raises(ValueError, match="`hr@11` in `thresholds`.*`hr@10`"):
        RetrievalEvaluationConfig(thresholds={"hr@11": 0.1})
    with pytest.raises(ValueError, match="slice_thresholds"):
        RetrievalEvaluationConfig(slice_thresholds={"slice/activity=1-9": {"hr": 0.1}})


def test_a_handful_of_users_blesses_nothing_by_default():
    assert RetrievalEvaluationConfig().min_users == 100
    with pytest.raises(ValueError, match="min_users"):
        RetrievalEvaluationConfig(min_users=0)


def test_lengths_are_positive_and_different():
    for ks in ((), (10, 10), (0, 5)):
        with pytest.raises(ValueError, match="`ks`"):
            RetrievalEvaluationConfig(ks=ks)


def test_slice_names_round_trip():
    values = {"slice/activity": "1-9", "slice/target_popularity": "tail"}
    assert parse_slice(format_slice(values.items())) == values
    with pytest.raises(ValueError, match="feature=value"):
        RetrievalEvaluationConfig(slice_thresholds={"tail": {"hr@10": 0.1}})


def test_json_round_trip():
    config = RetrievalEvaluationConfig(thresholds={"hr@10": 0.18}, slices=(("slice/activity",),))
    assert RetrievalEvaluationConfig.model_validate_json(config.to_json()) == config
