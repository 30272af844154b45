"""Configurations of the tasks: the losses that models learn by. Free of TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Literal

from pydantic import Field
from pydantic import model_validator

from transforms.base_config import Config
from transforms.base_config import chosen_by

if TYPE_CHECKING:
    import numpy as np

    from models.tasks.retrieval_loss import RetrievalLoss


class LossConfig(Config):
    """Configuration of a retrieval loss.

    Attributes:
      exclude_history: Whether items of a row's own history are no negatives of
        that row; None does so where seen items are excluded (`exclude_seen`).
    """

    exclude_history: bool | None = None

    def make(self, counts: np.ndarray, seed: int, precision: str) -> RetrievalLoss:
        """Makes the loss.

        Args:
            counts: [V + 1], how often each entity is a training target, up to a factor.
            seed: Of the negatives that are drawn.
            precision: Of products with matrices, a name of a `tf.DType`.
        """
        raise NotImplementedError


class FullSoftmaxConfig(LossConfig):
    """Softmax over all trained items, for catalogues of up to some ten thousand.

    Attributes:
      label_smoothing: Share of the label spread over all items.
    """

    name: Literal["full_softmax"] = "full_softmax"
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)

    def make(self, counts: np.ndarray, seed: int, precision: str) -> RetrievalLoss:
        """Makes the loss; see the base class."""
        from models.tasks.full_softmax import FullSoftmax

        return FullSoftmax(self, counts, precision)


class NegativesConfig(LossConfig):
    """Negatives sampled for a batch, of whatever size the catalogue is.

    Attributes:
      negatives: Items sampled for each batch as negatives of all its rows.
      popularity_exponent: Negatives are drawn by (training count) ** this.
      uniform_share: Share of the negatives drawn uniformly instead.
    """

    negatives: int = Field(default=1024, ge=0)
    popularity_exponent: float = Field(default=0.75, ge=0.0)
    uniform_share: float = Field(default=0.5, ge=0.0, le=1.0)


class SampledSoftmaxConfig(NegativesConfig):
    """Softmax over the batch's other targets and sampled items.

    Attributes:
      in_batch: Whether the batch's other targets are negatives of a row.
      queue: How many targets of earlier batches are negatives, too, the newest; their vectors
        are made anew.
      correct_sampling: Whether the logarithm of the number of times that an item
        is expected among the negatives is subtracted from its score (logQ).
    """

    name: Literal["sampled_softmax"] = "sampled_softmax"
    in_batch: bool = True
    queue: int = Field(default=0, ge=0)
    correct_sampling: bool = True

    @model_validator(mode="after")
    def _there_are_negatives(self) -> SampledSoftmaxConfig:
        if not (self.in_batch or self.queue or self.negatives):
            raise ValueError(
                "`sampled_softmax` needs negatives: set `in_batch`, or `negatives` or `queue` "
                "above 0."
            )
        return self

    def make(self, counts: np.ndarray, seed: int, precision: str) -> RetrievalLoss:
        """Makes the loss; see the base class."""
        from models.tasks.sampled_softmax import SampledSoftmax

        return SampledSoftmax(self, counts, seed, precision)


class GBCEConfig(NegativesConfig):
    """Generalised binary cross-entropy over the target and sampled items.

    Attributes:
      calibration: How far it undoes the overconfidence that sampled negatives
        bring, from 0 (none, binary cross-entropy) to 1.
    """

    name: Literal["gbce"] = "gbce"
    negatives: int = Field(default=1024, ge=1)
    calibration: float = Field(default=0.75, ge=0.0, le=1.0)

    def make(self, counts: np.ndarray, seed: int, precision: str) -> RetrievalLoss:
        """Makes the loss; see the base class."""
        from models.tasks.gbce import GBCE

        return GBCE(self, counts, seed)


if TYPE_CHECKING:
    RetrievalLossChoice = LossConfig
else:
    RetrievalLossChoice = chosen_by(
        "name", "sampled_softmax", SampledSoftmaxConfig, FullSoftmaxConfig, GBCEConfig
    )
