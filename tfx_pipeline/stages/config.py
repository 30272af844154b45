"""Sections of the configuration that belong to one stage. Free of TensorFlow and TFX."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from models.config import PretrainingTrainerConfig
from models.config import RankingTrainerConfig
from models.config import RetrievalTrainerConfig
from models.search_space import TuningConfig
from models.seminar.config import SeminarPretrainingConfig
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

    @model_validator(mode="after")
    def _compares_what_chose_the_epoch(self) -> RetrievalConfig:
        monitor = self.trainer.validation.monitor
        k = int(monitor.rpartition("@")[2])
        if self.evaluation.beats_neighbours is not None and k not in self.evaluation.ks:
            raise ValueError(
                f"`retrieval.evaluation.beats_neighbours` compares `{monitor}`, which chooses the "
                f"epoch: add {k} to `retrieval.evaluation.ks` ({list(self.evaluation.ks)})."
            )
        return self


class RankingConfig(Config):
    """The section `ranking`: scores for the candidates of a page.

    Attributes:
        label: What is predicted, and on which rows. Said once here, it reaches `timeline`,
            `trainer` and `evaluation`.
        pretraining: What is trained first, for the model to start from; nothing if it is null.
            What both models have in common is said once, in `trainer.model`.
        trainer: The model and how it is trained.
        tuning: Whether better values of `trainer` are searched first.
        evaluation: Metrics, slices and gates.
        serving_validation: How the release candidate is asked through a server before the push.
        push: How versions are pushed.
    """

    label: LabelConfig = LabelConfig()
    pretraining: PretrainingTrainerConfig | None = None
    trainer: RankingTrainerConfig = RankingTrainerConfig()
    tuning: TuningConfig = TuningConfig()
    evaluation: RankingEvaluationConfig = RankingEvaluationConfig()
    serving_validation: ServingValidationConfig = ServingValidationConfig()
    push: PusherConfig = PusherConfig()

    @model_validator(mode="before")
    @classmethod
    def _common_keys_once(cls, values: Any) -> Any:
        """Hands pretraining what its model has in common with the one that ranks."""
        if not isinstance(values, dict) or not isinstance(values.get("pretraining"), dict):
            return values  # there is none, or an object
        section, trainer = values["pretraining"], values.get("trainer", {})
        model = section.get("model", {})
        ranked = trainer.get("model", {}) if isinstance(trainer, dict) else None
        if not isinstance(model, dict) or not isinstance(ranked, dict):
            return values  # of a wrong type, which its own field says better
        common = {key: ranked[key] for key in ranked if key in SeminarPretrainingConfig.COMMON}
        return {**values, "pretraining": {**section, "model": common | model}}

    @model_validator(mode="after")
    def _starts_from_what_fits(self) -> RankingConfig:
        model = self.trainer.model
        if self.trainer.freeze and not (self.pretraining or self.trainer.warm_start):
            raise ValueError(
                "`trainer.freeze` keeps weights that training starts from, and it starts afresh: "
                "give `pretraining`, or set `trainer.warm_start`."
            )
        if self.pretraining is None:
            return self
        pretrained = self.pretraining.model
        if model.family != pretrained.PRETRAINS:
            raise ValueError(
                f"`pretraining` is for the family `{pretrained.PRETRAINS}`; "
                f"`trainer.model.family` is `{model.family}`. Set it to null."
            )
        for key in pretrained.COMMON:
            if getattr(pretrained, key) != getattr(model, key):
                raise ValueError(
                    f"Set `trainer.model.{key}`, not `pretraining.model.{key}`: received "
                    f"{getattr(model, key)} and {getattr(pretrained, key)}."
                )
        if self.trainer.warm_start:
            raise ValueError(
                "`trainer.warm_start` starts from what is served, `pretraining` from what was "
                "pretrained: leave one of them out."
            )
        if self.tuning.minutes:
            raise ValueError(
                "`tuning` would try other shapes than those that were pretrained: tune without "
                "`pretraining`, and give it the values that were found."
            )
        return self


StageConfig = RetrievalConfig | RankingConfig
