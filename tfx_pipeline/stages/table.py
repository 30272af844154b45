"""Table of the stages that train a model. Free of TensorFlow and TFX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from transforms.features import PAGE_SPLITS

if TYPE_CHECKING:
    from models.families import Stage

TRAINING_SPLITS = ("train", "catalogue")  # what every Trainer learns from
REPRESENTATION: Final = "representation"  # section, in the configuration and in `metrics.json`
ENCODER_METRICS = ("auc", "gauc", "mean_cosine", "effective_rank")  # that a finished run prints
FEATURE_BUILDER = "image-feature-builder"  # id of the component that makes features of images


@dataclass(frozen=True)
class StageEntry:
    """Facts about a stage that several components and commands have to agree on.

    Attributes:
        name: The stage, as a section of the configuration is called.
        validation_split: The split that chooses the epoch to keep.
        test_split: The split that judges the servable, and that warm-up requests are made of.
        headline: Metrics that a finished run prints.
        plain_names: Whether its components, its model and its metrics do without the name of
            the stage.
    """

    name: Stage
    validation_split: str
    test_split: str
    headline: tuple[str, ...]
    plain_names: bool = False

    def component_id(self, component: str) -> str:
        """Returns the id of a component of the stage, e.g. `trainer` or `ranking-trainer`."""
        return component if self.plain_names else f"{self.name}-{component}"

    def model_name(self, pipeline: str) -> str:
        """Returns the name by which requests call the model of the stage."""
        return pipeline if self.plain_names else f"{pipeline}-{self.name}"

    def metrics_in(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the part of `metrics.json` that is of the stage; nothing if there is none."""
        if not self.plain_names:
            return dict(metrics.get(self.name, {}))
        others = {*STAGES, REPRESENTATION}
        return {name: value for name, value in metrics.items() if name not in others}


STAGES: dict[str, StageEntry] = {
    entry.name: entry
    for entry in (
        StageEntry(
            "retrieval", "validation", "test", ("hr@10", "hr@50", "ndcg@10", "mrr@10"), True
        ),
        StageEntry(
            "ranking", *PAGE_SPLITS, ("auc", "gauc", "page_ndcg", "log_loss", "calibration")
        ),
    )
}
