import subprocess
import sys

import pytest

from models.config import TrainerConfig


def test_round_trip_through_json():
    config = TrainerConfig.model_validate({"epochs": 3, "two_tower": {"query": {"hidden": [8, 4]}}})

    assert TrainerConfig.model_validate_json(config.to_json()) == config


@pytest.mark.parametrize(
    "values, nearest",
    [
        ({"epoch": 3}, "epochs"),
        ({"two_tower": {"query": {"windows": 3}}}, "window"),
        ({"task": {"negative": 3}}, "negatives"),
    ],
)
def test_unknown_keys_name_the_nearest(values, nearest):
    with pytest.raises(ValueError, match=f"nearest is `{nearest}`"):
        TrainerConfig.model_validate(values)


@pytest.mark.parametrize(
    "values",
    [
        {"task": {"loss": "hinge"}},
        {"two_tower": {"query": {"dropout": 1.0}}},
        {"two_tower": {"query": {"window": 2, "last_items": 3}}},
        {"task": {"negatives": 0, "in_batch": False}},
        {"epochs": 0},
        {"validation": {"watch": "ndcg@20"}},
        {"sequence": {"xla": True, "encoder": {"block": "gru"}}},
    ],
)
def test_impossible_values_are_errors(values):
    with pytest.raises(ValueError):
        TrainerConfig.model_validate(values)


def test_configuration_imports_no_tensorflow():
    code = "import sys, models.config; sys.exit('tensorflow' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
