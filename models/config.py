"""Configuration of the Trainer: which model, what it learns from, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any
from typing import Literal

from pydantic import Field
from pydantic import model_validator

from models.families import configs_of
from models.families import find_family
from transforms.base_config import Config
from transforms.base_config import FromLog
from transforms.base_config import chosen_by
from transforms.base_config import from_log
from transforms.label_config import LabelConfig

if TYPE_CHECKING:
    from models.courier.config import CourierConfig
    from models.ranking.config import RankingModelConfig
    from models.retrieval.config import RetrievalModelConfig
    from models.seminar.config import SeminarPretrainingConfig


def _default(family: str) -> Any:
    """Makes the default of a family; importing it would make every trainer depend on it."""
    return find_family(family).config()


class OptimizerConfig(Config):
    """Configuration of the optimizer; a step never costs more than the rows it touches.

    Attributes:
      name: `lazy_adam` is Adam that touches a batch's rows only.
      learning_rate: The rate after the warm-up.
      schedule: `cosine` lets the rate fall to `final_rate` of itself over all epochs.
      final_rate: The share of the rate that is left at the end.
      warmup_steps: Steps over which the rate rises from 0.
      clip_norm: Gradients are scaled down to this global norm; 0 leaves them.
    """

    name: Literal["lazy_adam", "adagrad"] = "lazy_adam"
    learning_rate: float = Field(default=1e-3, gt=0.0)
    schedule: Literal["constant", "cosine"] = "cosine"
    final_rate: float = Field(default=0.01, ge=0.0, le=1.0)
    warmup_steps: int = Field(default=0, ge=0)
    clip_norm: float = Field(default=0.0, ge=0.0)


class InputConfig(Config):
    """Configuration of batches.

    Attributes:
      batch_size: Targets in a batch; for the sequence model at most so many events,
        start tokens and padding included, unless a single sequence has more.
      pool: Timelines whose targets are shuffled together.
      shuffle_buffer: Timelines in the buffer from which pools are drawn.
    """

    batch_size: int = Field(default=512, ge=1)
    pool: int = Field(default=1024, ge=1)
    shuffle_buffer: int = Field(default=16_384, ge=1)


class ValidationConfig(Config):
    """Configuration of validation during training, and of early stopping.

    Attributes:
      monitor: The metric that chooses the epoch to keep.
      patience: Epochs without a better value after which training stops; 0 never stops.
    """

    monitor: str
    patience: int = Field(default=3, ge=0)


class TrainerConfig(Config):
    """Configuration of a training, whatever the stage.

    Attributes:
      model: The model; `family` chooses its kind among those of the stage.
      validation: How the validation split is watched.
      optimizer: How weights are adjusted.
      input: How batches are made of timelines.
      epochs: Most epochs to train.
      steps_per_epoch: Steps after which an epoch ends early; 0 takes all of the data.
      max_minutes: Training ends after the epoch in which this many minutes have
        passed; 0 never does. For one worker: each has its own clock.
      seed: Of initial weights, shuffles, dropout and negatives.
      warm_start: Whether training starts from the served model's weights, where
        there is one.
      precision: Of the encoder's blocks and of a softmax's scores in the loss; weights, the sums
        over scores and what is saved stay float32.
      deterministic: Whether TensorFlow uses its slower deterministic kernels.
      workers: Processes that train together (`TF_CONFIG`). A pipeline's Trainer does not train
        where there are several: it writes `arguments.json` for them, waits for what they have
        trained, and exports that.
      tensorboard: Whether logs for TensorBoard are written.
      checkpoints: Whether the training is kept after each epoch, so that a run that is started
        again after it was killed goes on with the next one.
    """

    model: Any
    validation: ValidationConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    input: InputConfig = InputConfig()
    epochs: int = Field(default=10, ge=1)
    steps_per_epoch: int = Field(default=0, ge=0)
    max_minutes: float = Field(default=0.0, ge=0.0)
    seed: int = 1
    warm_start: bool = False
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    deterministic: bool = False
    workers: int = Field(default=1, ge=1)
    tensorboard: bool = True
    checkpoints: bool = True

    @model_validator(mode="after")
    def _can_be_shared(self) -> TrainerConfig:
        if self.workers > 1 and (self.max_minutes or not self.checkpoints):
            raise ValueError(
                "Several `workers` hand over what they have trained as `checkpoints`, and have no "
                "clock together for `max_minutes`: leave the first on and the second at 0."
            )
        return self


class RetrievalOptimizerConfig(OptimizerConfig):
    """Configuration of the optimizer; a rate that is None follows from the log."""

    learning_rate: FromLog[float] = from_log(gt=0.0)


class RetrievalInputConfig(InputConfig):
    """Configuration of batches; what is None follows from the log."""

    batch_size: FromLog[int] = from_log(ge=1)
    pool: FromLog[int] = from_log(ge=1)


class RetrievalValidationConfig(ValidationConfig):
    """Configuration of validation by ranking the whole catalogue.

    Attributes:
      k: Cut-offs of the metrics.
      users: At most so many validation timelines are ranked; 0 ranks all.
    """

    monitor: str = "hr@10"
    k: tuple[int, ...] = (10, 50)
    users: int = Field(default=20_000, ge=0)

    @model_validator(mode="after")
    def _is_measured(self) -> RetrievalValidationConfig:
        names = ("hr", "recall", "ndcg", "mrr")
        measured = [f"{name}@{k}" for k in self.k for name in names]
        if self.monitor not in measured:
            raise ValueError(
                f"`monitor` should be one of {measured}, received `{self.monitor}`. Choose one of "
                "these, or add its cut-off to `k`."
            )
        return self


if TYPE_CHECKING:
    RetrievalModelChoice = RetrievalModelConfig
else:
    RetrievalModelChoice = chosen_by("family", "two_tower", *configs_of("retrieval"))


class RetrievalTrainerConfig(TrainerConfig):
    """A retrieval model and how it is trained.

    What is None follows from the log (`models.defaults`); `epochs` then is a ceiling that
    validation stays below (`validation.patience`).

    Attributes:
      target_events: Event types that may be targets; `*` is all. The same as Transform's.
      candidate_types: Entity types that are retrieved; `*` is all. The same as Transform's.
      exclude_seen: Event types whose entities are never recommended to the same
        user again; `*` is all. The same as the index's.
      context_events: The longest window that may follow from the log. The same as the example
        generator's.
    """

    model: RetrievalModelChoice = _default("two_tower")
    validation: RetrievalValidationConfig = RetrievalValidationConfig()
    optimizer: RetrievalOptimizerConfig = RetrievalOptimizerConfig()
    input: RetrievalInputConfig = RetrievalInputConfig()
    epochs: FromLog[int] = from_log(ge=1)
    steps_per_epoch: FromLog[int] = from_log(ge=0)
    target_events: tuple[str, ...] = ("*",)
    candidate_types: tuple[str, ...] = ("*",)
    exclude_seen: tuple[str, ...] = ()
    context_events: int = Field(default=256, ge=0)


class RankingInputConfig(InputConfig):
    """Configuration of batches of pages.

    Attributes:
      batch_size: Pages in a batch, each with all its candidates.
    """

    batch_size: int = Field(default=128, ge=1)


class RankingValidationConfig(ValidationConfig):
    """Configuration of validation by predicting clicks.

    Attributes:
      batches: At most so many batches of 256 held-out pages are scored, about 100,000 pages by
        default; -1 scores all. They stay in memory, unless they take more than 2 GiB.
    """

    monitor: Literal["auc", "gauc", "log_loss"] = "auc"
    batches: int = Field(default=400, ge=-1)


if TYPE_CHECKING:
    RankingModelChoice = RankingModelConfig
else:
    RankingModelChoice = chosen_by("family", "din", *configs_of("ranking"))


class RankingTrainerConfig(TrainerConfig):
    """A ranking model and how it is trained.

    Attributes:
      input: How batches are made of pages.
      label: What is predicted, and on which rows. The same as the example generator's.
      candidate_types: Entity types of positives and random negatives (`label.source: events`).
      freeze: Parts of the model that keep the weights that training starts from; none where it
        starts afresh.
    """

    model: RankingModelChoice = _default("din")
    validation: RankingValidationConfig = RankingValidationConfig()
    input: RankingInputConfig = RankingInputConfig()
    label: LabelConfig = LabelConfig()
    candidate_types: tuple[str, ...] = ("*",)
    freeze: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _freezes_what_there_is(self) -> RankingTrainerConfig:
        unknown = sorted(set(self.freeze) - set(self.model.PARTS))
        if unknown:
            raise ValueError(
                f"`freeze` names {', '.join(unknown)}; the parts of `{self.model.family}` are "
                f"{', '.join(self.model.PARTS) or 'none'}."
            )
        return self

    @model_validator(mode="after")
    def _leaves_out_impressions_alone(self) -> RankingTrainerConfig:
        if self.model.negative_rate != 1.0 and self.label.source != "impressions":
            raise ValueError(
                "`model.negative_rate` is the share of impressions that training keeps and should "
                f"be 1 with `label.source: {self.label.source}`; received "
                f"{self.model.negative_rate}. Leave it out."
            )
        return self


class PretrainingValidationConfig(ValidationConfig):
    """Configuration of validation by the losses of held-out pages.

    Attributes:
      batches: At most so many batches of 256 held-out pages are read; -1 reads all. They stay in
        memory, unless they take more than 2 GiB.
    """

    monitor: Literal["pretraining_loss"] = "pretraining_loss"
    batches: int = Field(default=40, ge=-1)


if TYPE_CHECKING:
    PretrainingModelChoice = SeminarPretrainingConfig
else:
    PretrainingModelChoice = chosen_by("family", "seminar_pretraining", *configs_of("pretraining"))


class PretrainingTrainerConfig(TrainerConfig):
    """A model whose weights a ranking model starts from, and how it is trained.

    Attributes:
      input: How batches are made of events, each with the history before it.
      target_events: Event types that are predicted; `*` is all.
      candidate_types: Entity types that are predicted, and of random negatives.
      negatives: Random items beside each event.
    """

    model: PretrainingModelChoice = _default("seminar_pretraining")
    validation: PretrainingValidationConfig = PretrainingValidationConfig()
    input: RankingInputConfig = RankingInputConfig()
    epochs: int = Field(default=1, ge=1)
    target_events: tuple[str, ...] = ("*",)
    candidate_types: tuple[str, ...] = ("*",)
    negatives: int = Field(default=1, ge=1)

    @property
    def label(self) -> LabelConfig:
        """What is predicted, as a ranking model is told."""
        return LabelConfig(source="events", events=self.target_events, negatives=self.negatives)


class RepresentationValidationConfig(ValidationConfig):
    """Configuration of validation by telling clicks from similarities.

    Attributes:
      monitor: The metric that chooses the epoch to keep; `views_loss` is for `objective: simclr`,
        and needs no clicks.
      batches: At most so many batches of 256 held-out pages are read; -1 reads all. They are
        held in memory.
      max_mean_cosine: The mean cosine of all pairs of vectors above which they count as collapsed,
        and no features are made of them.
      min_effective_rank: Likewise the effective rank below which they do: vectors along one line
        have opposite directions, which the mean cosine does not tell.
    """

    monitor: Literal["auc", "gauc", "auc_max", "auc_rebuilt", "views_loss"] = "auc"
    batches: int = Field(default=40, ge=-1)
    max_mean_cosine: float = Field(default=0.9, gt=0.0, le=1.0)
    min_effective_rank: float = Field(default=2.0, ge=1.0)


class RepresentationOptimizerConfig(OptimizerConfig):
    """Configuration of the optimizer of an encoder."""

    learning_rate: float = Field(default=1e-3, gt=0.0)
    clip_norm: float = Field(default=1.0, ge=0.0)


if TYPE_CHECKING:
    RepresentationModelChoice = CourierConfig
else:
    RepresentationModelChoice = chosen_by("family", "courier", *configs_of("representation"))


class RepresentationTrainerConfig(TrainerConfig):
    """An encoder of the catalogue, and how it is trained.

    Attributes:
      input: How batches are made of pages; of images, with `model.objective: simclr`.
      label: Which rows there are, and when they are positive. The same as the example generator's.
      candidate_types: Entity types whose images are read.
    """

    model: RepresentationModelChoice = _default("courier")
    validation: RepresentationValidationConfig = RepresentationValidationConfig()
    optimizer: RepresentationOptimizerConfig = RepresentationOptimizerConfig()
    input: RankingInputConfig = RankingInputConfig()
    epochs: int = Field(default=5, ge=1)
    label: LabelConfig = LabelConfig()
    candidate_types: tuple[str, ...] = ("*",)

    @model_validator(mode="after")
    def _watches_what_it_measures(self) -> RepresentationTrainerConfig:
        if self.validation.monitor == "views_loss" and self.model.objective != "simclr":
            raise ValueError(
                "`validation.monitor: views_loss` is the loss of `model.objective: simclr`, "
                f"received `{self.model.objective}`. Choose another one."
            )
        return self


PageTrainerConfig = RankingTrainerConfig | PretrainingTrainerConfig

TRAINERS: dict[str, type[TrainerConfig]] = {  # by what is trained
    "retrieval": RetrievalTrainerConfig,
    "ranking": RankingTrainerConfig,
    "pretraining": PretrainingTrainerConfig,
    "representation": RepresentationTrainerConfig,
}
