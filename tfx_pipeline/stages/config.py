"""Sections of the configuration that belong to one stage. Free of TensorFlow and TFX."""

from __future__ import annotations

from pydantic import model_validator

from models.config import RankingTrainerConfig
from models.config import RetrievalTrainerConfig
from models.search_space import TuningConfig
from serving.index.config import IndexConfig
from serving.publishing.config import PusherConfig
from serving.sources.config import SourcesConfig
from tfx_pipeline.components.serving_validator.config import RetrievalServingValidationConfig
from tfx_pipeline.components.serving_validator.config import ServingValidationConfig
from tfx_pipeline.evaluation.config import RankingEvaluationConfig
from tfx_pipeline.evaluation.config import RetrievalEvaluationConfig
from transforms.base_config import Config
from transforms.label_config import LabelConfig


class RetrievalConfig(Config):
    """The section `retrieval`: candidates for a user, out of the whole catalogue.

    Attributes:
        trainer: The model and how it is trained.
        tuning: Whether better values of `trainer` are searched first.
        index: How candidates are searched.
        sources: Where candidates come from besides the index.
        evaluation: Metrics, slices and gates.
        serving_validation: How the release candidate is asked through a server before the push.
        push: How versions are pushed.
    """

    trainer: RetrievalTrainerConfig = RetrievalTrainerConfig()
    tuning: TuningConfig = TuningConfig()
    index: IndexConfig = IndexConfig()
    sources: SourcesConfig = SourcesConfig()
    evaluation: RetrievalEvaluationConfig = RetrievalEvaluationConfig()
    serving_validation: RetrievalServingValidationConfig = RetrievalServingValidationConfig()
    push: PusherConfig = PusherConfig()

    @model_validator(mode="after")
    def _enough_results(self) -> RetrievalConfig:
        longest = max(self.evaluation.ks)
        if self.index.k < longest:
            raise ValueError(
                f"`retrieval.index.k` ({self.index.k}) is how many results the servable returns, "
                f"and `retrieval.evaluation.ks` asks for {longest}: raise the first or lower the "
                "second."
            )
        return self


class RankingConfig(Config):
    """The section `ranking`: scores for the candidates of a page.

    Attributes:
        label: What is predicted, and on which rows. Said once here, it reaches `timeline`,
            `trainer` and `evaluation`.
        trainer: The model and how it is trained.
        tuning: Whether better values of `trainer` are searched first.
        evaluation: Metrics, slices and gates.
        serving_validation: How the release candidate is asked through a server before the push.
        push: How versions are pushed.
    """

    label: LabelConfig = LabelConfig()
    trainer: RankingTrainerConfig = RankingTrainerConfig()
    tuning: TuningConfig = TuningConfig()
    evaluation: RankingEvaluationConfig = RankingEvaluationConfig()
    serving_validation: ServingValidationConfig = ServingValidationConfig()
    push: PusherConfig = PusherConfig()


StageConfig = RetrievalConfig | RankingConfig
