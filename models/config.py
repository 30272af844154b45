"""Configuration of the Trainer: which model, what it learns from, and for how long."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic import model_validator

from models.retrieval.config import TowersConfig
from models.sequence.config import SequenceConfig
from models.two_tower.config import TwoTowerConfig
from transforms.base_config import Config


class RetrievalConfig(Config):
    """What a retrieval model is trained to tell its target from.

    Attributes:
      loss: `sampled` compares the target with the batch's other targets and
        with sampled items, whatever the size of the catalogue; `full` with every
        trained item, for catalogues of up to some ten thousand; `gbce` asks of
        the target and of each sampled item alone whether it is the target.
      in_batch: Whether the batch's other targets are negatives of a row.
      negatives: Items sampled for each batch as negatives of all its rows.
      popularity_exponent: Negatives are drawn by (training count) ** this.
      uniform_share: Share of the negatives drawn uniformly instead.
      correct_sampling: Whether the logarithm of the number of times that an item
        is expected among the negatives is subtracted from its score (logQ).
      exclude_history: Whether items of a row's own history are no negatives of
        that row; None does so where seen items are excluded (`exclude_seen`).
      calibration: How far `gbce` undoes the overconfidence that sampled negatives
        bring, from 0 (none, binary cross-entropy) to 1.
      label_smoothing: Share of the label spread over all items (`full` only).
    """

    loss: Literal["sampled", "full", "gbce"] = "sampled"
    in_batch: bool = True
    negatives: int = Field(default=1024, ge=0)
    popularity_exponent: float = Field(default=0.75, ge=0.0)
    uniform_share: float = Field(default=0.5, ge=0.0, le=1.0)
    correct_sampling: bool = True
    exclude_history: bool | None = None
    calibration: float = Field(default=0.75, ge=0.0, le=1.0)
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _there_are_negatives(self) -> RetrievalConfig:
        if self.label_smoothing and self.loss != "full":
            raise ValueError("`label_smoothing` spreads over all items: it needs `loss: full`.")
        if self.loss == "gbce" and not self.negatives:
            raise ValueError("`gbce` needs negatives: set `negatives` above 0.")
        if self.loss == "sampled" and not (self.in_batch or self.negatives):
            raise ValueError("`sampled` needs negatives: set `in_batch`, or `negatives` above 0.")
        return self


class OptimizerConfig(Config):
    """How weights are adjusted; a step never costs more than the rows it touches.

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
    """How batches are cut from timelines.

    Attributes:
      batch_size: Targets in a batch; for the sequence model at most so many events,
        start tokens and padding included, unless a single sequence has more.
      targets_per_timeline: At most so many targets of a timeline in an epoch,
        drawn anew each time; 0 takes all.
      pool: Timelines whose targets are shuffled together.
      shuffle: Timelines in the buffer from which pools are drawn.
      seen_window: The most recent events whose items are no negatives
        (`exclude_history`) where that applies.
    """

    batch_size: int = Field(default=512, ge=1)
    targets_per_timeline: int = Field(default=0, ge=0)
    pool: int = Field(default=1024, ge=1)
    shuffle: int = Field(default=16_384, ge=1)
    seen_window: int = Field(default=200, ge=1)


class ValidationConfig(Config):
    """How training watches the validation split, and when it stops.

    Attributes:
      k: Cut-offs of the metrics.
      watch: The metric that chooses the epoch to keep.
      patience: Epochs without a better value after which training stops; 0 never stops.
      users: At most so many validation timelines are ranked; 0 ranks all.
    """

    k: tuple[int, ...] = (10, 50)
    watch: str = "hr@10"
    patience: int = Field(default=3, ge=0)
    users: int = Field(default=20_000, ge=0)

    @model_validator(mode="after")
    def _is_measured(self) -> ValidationConfig:
        names = ("hr", "recall", "ndcg", "mrr")
        measured = [f"{name}@{k}" for k in self.k for name in names]
        if self.watch not in measured:
            raise ValueError(
                f"`watch` should be one of {measured}, received `{self.watch}`. Choose one of "
                "these, or add its cut-off to `k`."
            )
        return self


class TrainerConfig(Config):
    """The model and how it is trained.

    Attributes:
      model: Which recommender is trained.
      two_tower: The two-tower, when it is the model.
      sequence: The sequence model, when it is the model.
      task: What it is trained to tell its target from.
      optimizer: How weights are adjusted.
      input: How batches are cut from timelines.
      validation: How the validation split is watched.
      epochs: Most epochs to train.
      steps_per_epoch: Steps after which an epoch ends early; 0 takes all of the data.
      max_minutes: Training ends after the epoch in which this many minutes have
        passed; 0 never does. For one worker: each has its own clock.
      target_events: Event types that may be targets; `*` is all. The same as Transform's.
      candidate_types: Entity types that are retrieved; `*` is all. The same as Transform's.
      exclude_seen: Event types whose entities are never recommended to the same
        user again; `*` is all. The same as the index's.
      seed: Of initial weights, shuffles, dropout and negatives.
      warm_start: Whether training starts from the served model's weights, where
        there is one.
      precision: Of the encoder's blocks and of a softmax's scores in the loss; weights, the sums
        over scores and what is saved stay float32.
      deterministic: Whether TensorFlow uses its slower deterministic kernels.
      tensorboard: Whether logs for TensorBoard are written.
      checkpoints: Whether the training is kept after each epoch, so that a run that is started
        again after it was killed goes on with the next one. For one worker.
    """

    model: Literal["two_tower", "sequence"] = "two_tower"
    two_tower: TwoTowerConfig = TwoTowerConfig()
    sequence: SequenceConfig = SequenceConfig()
    task: RetrievalConfig = RetrievalConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    input: InputConfig = InputConfig()
    validation: ValidationConfig = ValidationConfig()
    epochs: int = Field(default=10, ge=1)
    steps_per_epoch: int = Field(default=0, ge=0)
    max_minutes: float = Field(default=0.0, ge=0.0)
    target_events: tuple[str, ...] = ("*",)
    candidate_types: tuple[str, ...] = ("*",)
    exclude_seen: tuple[str, ...] = ()
    seed: int = 1
    warm_start: bool = False
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    deterministic: bool = False
    tensorboard: bool = True
    checkpoints: bool = True

    @property
    def window(self) -> int:
        """The most events of a history that the model reads."""
        if self.model == "sequence":
            return self.sequence.input.length
        return self.two_tower.query.window

    @model_validator(mode="after")
    def _sequences_are_whole(self) -> TrainerConfig:
        if self.model == "sequence" and self.input.targets_per_timeline:
            raise ValueError(
                "The sequence model learns from every place of a window: leave "
                "`input.targets_per_timeline` at 0."
            )
        return self

    @property
    def towers(self) -> TowersConfig:
        """The configuration of the model that is trained."""
        return {"two_tower": self.two_tower, "sequence": self.sequence}[self.model]
