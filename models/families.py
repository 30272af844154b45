"""Registry of model families: a new one is its own folder and one line here. Free of TensorFlow."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any
from typing import Literal

from models.courier.config import CourierConfig
from models.din.config import DINConfig
from models.gmn.config import GMNConfig
from models.guim.config import GUIMConfig
from models.lifelong.config import EtaConfig
from models.lifelong.config import SdimConfig
from models.lifelong.config import SimConfig
from models.lifelong.config import TwinConfig
from models.logistic_regression.config import LogisticRegressionConfig
from models.pooled_mlp.config import PooledMLPConfig
from models.popularity.config import PopularityConfig
from models.seminar.config import SeminarConfig
from models.seminar.config import SeminarPretrainingConfig
from models.sequence.config import SequenceConfig
from models.sequence_ranker.config import SequenceRankerConfig
from models.two_tower.config import TwoTowerConfig
from transforms.base_config import Config

Stage = Literal["retrieval", "ranking"]
Trained = Literal[Stage, "pretraining", "representation"]  # what is trained


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of model that a configuration can choose.

    Attributes:
      name: The value of `model.family` that chooses it.
      config: Its configuration; the field `family` defaults to `name`.
      model: Importable path of its `models.training.learner.Learner`.
      stage: The stage of the pipeline that it serves in; `pretraining` for one that serves in
        none, whose weights a ranking model starts from, and `representation` for one that makes
        features of the catalogue.
    """

    name: str
    config: type[Config]
    model: str
    stage: Trained

    def load(self) -> Any:
        """Imports and returns the model class, and TensorFlow with it."""
        module, _, name = self.model.rpartition(".")
        return getattr(importlib.import_module(module), name)


FAMILIES = (
    Family("two_tower", TwoTowerConfig, "models.two_tower.model.TwoTower", "retrieval"),
    Family("sequence", SequenceConfig, "models.sequence.model.SequenceModel", "retrieval"),
    Family("gmn", GMNConfig, "models.gmn.model.GMN", "retrieval"),
    Family("guim", GUIMConfig, "models.guim.model.GUIM", "retrieval"),
    Family(
        "popularity",
        PopularityConfig,
        "models.popularity.model.Popularity",
        "ranking",
    ),
    Family(
        "logistic_regression",
        LogisticRegressionConfig,
        "models.logistic_regression.model.LogisticRegression",
        "ranking",
    ),
    Family("pooled_mlp", PooledMLPConfig, "models.pooled_mlp.model.PooledMLP", "ranking"),
    Family("din", DINConfig, "models.din.model.DIN", "ranking"),
    Family(
        "sequence_ranker",
        SequenceRankerConfig,
        "models.sequence_ranker.model.SequenceRanker",
        "ranking",
    ),
    Family("twin", TwinConfig, "models.lifelong.twin.Twin", "ranking"),
    Family("sim", SimConfig, "models.lifelong.sim.Sim", "ranking"),
    Family("eta", EtaConfig, "models.lifelong.eta.Eta", "ranking"),
    Family("sdim", SdimConfig, "models.lifelong.sdim.Sdim", "ranking"),
    Family("seminar", SeminarConfig, "models.seminar.model.Seminar", "ranking"),
    Family(
        "seminar_pretraining",
        SeminarPretrainingConfig,
        "models.seminar.pretrainer.SeminarPretrainer",
        "pretraining",
    ),
    Family("courier", CourierConfig, "models.courier.model.Courier", "representation"),
)


def find_family(name: str) -> Family:
    """Returns the family of a name that a configuration has been checked to hold."""
    return next(family for family in FAMILIES if family.name == name)


def configs_of(stage: Trained) -> tuple[type[Config], ...]:
    """Returns the configurations among which the models of a stage are chosen."""
    return tuple(family.config for family in FAMILIES if family.stage == stage)
