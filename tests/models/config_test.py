import subprocess
import sys

import pytest

import models  # noqa: F401  (chooses Keras 2)
from models.config import TRAINERS
from models.config import RankingTrainerConfig
from models.config import RetrievalTrainerConfig
from models.families import FAMILIES
from models.sequence.config import SequenceConfig
from models.tasks.config import FullSoftmaxConfig
from models.training.learner import Learner
from models.two_tower.config import TwoTowerConfig


def test_round_trip_through_json():
    config = RetrievalTrainerConfig.model_validate(
        {"epochs": 3, "model": {"query": {"hidden_units": [8, 4]}}}
    )

    assert RetrievalTrainerConfig.model_validate_json(config.to_json()) == config


@pytest.mark.parametrize(
    "values, nearest",
    [
        ({"epoch": 3}, "epochs"),
        ({"model": {"query": {"windows": 3}}}, "window"),
        ({"model": {"loss": {"negative": 3}}}, "negatives"),
    ],
)
def test_unknown_keys_name_the_nearest(values, nearest):
    with pytest.raises(ValueError, match=f"nearest is `{nearest}`"):
        RetrievalTrainerConfig.model_validate(values)


@pytest.mark.parametrize(
    "values",
    [
        {"model": {"loss": "hinge"}},
        {"model": {"query": {"dropout": 1.0}}},
        {"model": {"query": {"window": 2, "last_items": 3}}},
        {"model": {"loss": {"negatives": 0, "in_batch": False}}},
        {"epochs": 0},
        {"workers": 2, "max_minutes": 1.0},
        {"workers": 2, "checkpoints": False},
        {"validation": {"monitor": "ndcg@20"}},
        {"model": {"family": "sequence", "xla": True, "encoder": {"block": "gru"}}},
        {"model": {"family": "sequence", "query": {}}},  # a key of another model
        {"model": {"family": "din"}},  # of another stage,
    ],
)
def test_impossible_values_are_errors(values):
    with pytest.raises(ValueError):
        RetrievalTrainerConfig.model_validate(values)


def test_batches_of_a_ranker_are_pages():
    config = RankingTrainerConfig.model_validate({"input": {"pool": 7}})

    assert (config.input.batch_size, config.input.pool) == (128, 7)
    assert config.validation.batches == 400


def test_a_name_alone_stands_for_the_kind_with_its_defaults():
    config = RetrievalTrainerConfig.model_validate({"model": "sequence"})

    assert config.model == SequenceConfig()
    config = RetrievalTrainerConfig.model_validate({"model": {"loss": "full_softmax"}})
    assert config.model == TwoTowerConfig(loss=FullSoftmaxConfig())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_is_chosen_by_its_name(family):
    assert family.config().family == family.name
    assert issubclass(family.load(), Learner)
    chosen = TRAINERS[family.stage].model_validate({"model": family.name})
    assert chosen.model == family.config()


def test_configuration_imports_no_tensorflow():
    code = "import sys, models.config; sys.exit('tensorflow' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
