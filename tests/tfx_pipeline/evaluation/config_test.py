"""The configuration of the evaluation names mistakes."""

from __future__ import annotations

import pytest

from tfx_pipeline.evaluation.config import Bounds
from tfx_pipeline.evaluation.config import RankingEvaluationConfig
from tfx_pipeline.evaluation.config import RetrievalEvaluationConfig
from tfx_pipeline.evaluation.config import bounds_of
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


def ranking(**section):
    label = {"events": ["click", "buy"]}
    return RankingEvaluationConfig.model_validate({"label": label, **section})


def test_metrics_of_further_heads_end_on_their_names():
    names = ranking().metric_names
    assert {"auc", "auc/buy", "log_loss/buy", "pages"} < set(names)
    assert "auc/click" not in names and "pages/buy" not in names
    with pytest.raises(ValueError, match="`auc/by` in `thresholds`.*`auc/buy`.*click, buy"):
        ranking(thresholds={"auc/by": 0.6})


def test_a_metric_that_is_like_none_is_answered_with_all():
    with pytest.raises(ValueError, match="`clicks` in `thresholds` is not a metric; there are auc"):
        ranking(thresholds={"clicks": 1})


def test_a_number_bounds_a_metric_from_its_worse_side():
    assert bounds_of("gauc/buy", 0.6) == Bounds(lower=0.6)
    assert bounds_of("log_loss/buy", 0.3) == Bounds(upper=0.3)
    with pytest.raises(ValueError, match="`calibration` is best at 1: give both bounds"):
        ranking(slice_thresholds={"slice/query=with": {"calibration": 0.9}})
    with pytest.raises(ValueError, match="best at 1, so that no change of it"):
        ranking(change_thresholds={"calibration/buy": 0.01})


def test_bounds_hold_something():
    made = ranking(thresholds={"calibration": {"lower": 0.9, "upper": 1.1}})
    assert made.thresholds["calibration"] == Bounds(lower=0.9, upper=1.1)
    assert RankingEvaluationConfig.model_validate_json(made.to_json()) == made
    for wrong in ({}, {"lower": 1.1, "upper": 0.9}):
        with pytest.raises(ValueError, match="Give `lower`|No value is above"):
            ranking(thresholds={"calibration": wrong})
