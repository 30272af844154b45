"""A small log, transformed once, and small towers, trained once, for the tests of models."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf

from models.config import RetrievalTrainerConfig
from models.export.towers import save_towers
from models.fixed_values import retrieval_trainer
from models.retrieval.model import RetrievalModel
from models.tasks.config import FullSoftmaxConfig
from models.tasks.config import GBCEConfig
from models.tasks.config import SampledSoftmaxConfig
from models.training.data import TrainingData
from tests.helpers.timelines import run_transform
from tests.helpers.timelines import small_log
from tests.helpers.timelines import write_examples

SMALL = retrieval_trainer(
    {
        "model": {
            "dim": 16,
            "query": {"window": 8, "hidden_units": [32]},
            "loss": {"negatives": 16},
        },
        "input": {"batch_size": 64, "pool": 32},
        "validation": {"k": [5, 10], "monitor": "hr@5", "patience": 0},
        "optimizer": {"learning_rate": 0.01},
        "epochs": 3,
        "exclude_seen": [],  # the small log's users return to what they had
    }
)
SEQUENCE = retrieval_trainer(
    SMALL.model_dump()
    | {
        "model": {
            "family": "sequence",
            "loss": {"negatives": 16},
            "dim": 16,
            "input": {"length": 8},
            "encoder": {"blocks": 1, "use_user_attributes": True},
        },
    }
)


_LOSSES = {"full": "full_softmax", "sampled": "sampled_softmax", "gbce": "gbce"}


def loss_section(loss: str = "sampled", **options: Any) -> dict[str, Any]:
    """The section of a loss, with those of the options that it has."""
    name = _LOSSES[loss]
    kinds = (FullSoftmaxConfig, SampledSoftmaxConfig, GBCEConfig)
    (kind,) = (kind for kind in kinds if kind().name == name)
    return {"name": name} | {k: v for k, v in options.items() if k in kind.model_fields}


@dataclasses.dataclass(frozen=True)
class SmallLog:
    """A log with its transformed splits.

    Attributes:
      raw: Serialised raw examples by split.
      transform: What Transform wrote, a `tft.TFTransformOutput`.
      graph: The directory of that.
      examples: The directory of the transformed splits.
    """

    raw: dict[str, list[bytes]]
    transform: Any
    graph: Path
    examples: Path

    def files(self, split: str) -> list[str]:
        return sorted(str(path) for path in (self.examples / f"Split-{split}").glob("*"))

    @property
    def data(self) -> TrainingData:
        files = (self.files(split) for split in ("train", "catalogue", "validation"))
        return TrainingData(self.transform, *files)


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> SmallLog:
    import tensorflow_transform as tft

    path = tmp_path_factory.mktemp("log")
    raw = small_log()
    write_examples(path / "examples", raw)
    folders = run_transform(path / "examples", path / "transform")
    transform = tft.TFTransformOutput(str(folders["transform_graph"]))
    return SmallLog(raw, transform, folders["transform_graph"], folders["transformed_examples"])


@dataclasses.dataclass(frozen=True)
class Trained:
    """What `run_fn` left behind.

    Attributes:
      model_dir: The exported towers.
      run_dir: Logs and `training.json`.
      towers: The loaded SavedModel.
      model: The model that was exported, in this process.
      config: What was trained.
    """

    config: RetrievalTrainerConfig
    model_dir: Path
    run_dir: Path
    towers: Any
    model: Any


def train(config: RetrievalTrainerConfig, log: SmallLog, path: Path) -> Trained:
    """Trains and exports a model as the Trainer does."""
    from models import trainer

    files = [str(log.examples / f"Split-{name}" / "*") for name in ("train", "catalogue")]
    exported = []

    def export(model: Any, *arguments: Any) -> None:
        exported.append(model)
        save_towers(model, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RetrievalModel, "export", export)  # to keep the model that it is given
        trainer.run_fn(
            SimpleNamespace(
                train_files=files,
                eval_files=[str(log.examples / "Split-validation" / "*")],
                transform_graph_path=str(log.graph),
                serving_model_dir=str(path / "model"),
                model_run_dir=str(path / "run"),
                custom_config={"stage": "retrieval", "config": config.to_json()},
                base_model=None,
                hyperparameters=None,
            )
        )
    towers = tf.saved_model.load(str(path / "model"))
    return Trained(config, path / "model", path / "run", towers, exported[0])


@pytest.fixture(scope="session")
def trainings() -> dict[str, Trained]:
    """Models by family; a fixture with parameters is made anew whenever they change."""
    return {}


@pytest.fixture(params=[SMALL, SEQUENCE], ids=lambda config: config.model.family)
def trained(
    log: SmallLog,
    trainings: dict[str, Trained],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Trained:
    """A model of each family, trained and exported once."""
    family = request.param.model.family
    if family not in trainings:
        trainings[family] = train(request.param, log, tmp_path_factory.mktemp("trained"))
    return trainings[family]
