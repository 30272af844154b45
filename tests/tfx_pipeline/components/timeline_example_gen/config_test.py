"""What configurations are accepted and what is said about the others."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig


def test_the_default_survives_json() -> None:
    config = TimelineConfig()
    assert TimelineConfig.model_validate_json(config.to_json()) == config


@pytest.mark.parametrize(
    "value",
    [
        1_704_067_200_000_000,
        "2024-01-01",
        "2024-01-01T01:00:00+01:00",
        "2024-01-01T00:00:00Z",
        datetime.date(2024, 1, 1),
        datetime.datetime(2024, 1, 1),
    ],
)
def test_dates_are_microseconds(value: Any) -> None:
    config = TimelineConfig(split="time-cut", validation_days=2, test_start=value)
    assert config.test_start == 1_704_067_200_000_000
    assert TimelineConfig.model_validate_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"splitt": "time-cut"}, "nearest is `split`"),
        ({"context_events": 4_096}, "must be below max_events_per_example"),
        ({"split": "time-cut", "test_days": 1}, "one of validation_start and validation_days"),
        (
            {"split": "time-cut", "test_days": 1, "test_start": 5, "validation_days": 1},
            "one of test_start and test_days",
        ),
        ({"test_days": 1}, "belong to split `time-cut`"),
        (
            {"split": "time-cut", "validation_start": "2024-02-01", "test_start": "2024-01-01"},
            "must be before test_start",
        ),
        ({"split": "time-cut", "validation_start": "soon", "test_days": 1}, "received `soon`"),
        ({"test_share": 0.2}, "test_share belongs to split `leave-share-out`"),
        (
            {"split": "leave-share-out", "test_share": 0.5, "validation_share": 0.5},
            "leave nothing to train on",
        ),
        ({"split": "leave-share-out", "test_days": 1}, "the split is `leave-share-out`"),
        ({"label": {"sorce": "values"}}, "nearest is `source`"),
        ({"target_events": []}, "target_events is empty"),
        ({"earliest": "2030-01-01", "latest": "2020-01-01"}, "must be before latest"),
        ({"max_dead_letter_fraction": 2}, "max_dead_letter_fraction"),
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TimelineConfig(**values)
