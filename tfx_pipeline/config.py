"""The configuration of a pipeline run: its sections, and what they have to agree on."""

from __future__ import annotations

import json
import posixpath
import re
from operator import attrgetter
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic import field_validator
from pydantic import model_validator

from models.families import Stage
from models.input.config import ITEM_FEATURES
from models.input.config import LINKS
from models.seminar.config import SeminarPretrainingConfig
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.config_sections import with_shared
from tfx_pipeline.config_sections import without_objects
from tfx_pipeline.image_features.config import RepresentationConfig
from tfx_pipeline.runners.kubeflow.config import KubeflowConfig
from tfx_pipeline.stages.config import RankingConfig
from tfx_pipeline.stages.config import RetrievalConfig
from tfx_pipeline.stages.config import StageConfig
from tfx_pipeline.stages.table import STAGES
from transforms.base_config import Config
from transforms.catalogue_fields import CatalogueFields
from transforms.config import TransformConfig
from transforms.label_config import LabelConfig

SHARED = ("target_events", "candidate_types", "exclude_seen")
# Keys whose value comes from another key, beside those above.
DERIVED = (
    "retrieval.index.seen_events",
    "retrieval.trainer.context_events",
    "ranking.trainer.label",
    "ranking.evaluation.label",
    *(f"ranking.pretraining.model.{key}" for key in SeminarPretrainingConfig.COMMON),
)
RUN_ONLY = {
    "beam_pipeline_args",
    "enable_cache",
    "kubeflow",
    "run_dir",
    "push_dir",
}
_FIELDS = "catalogue_fields"  # of `timeline`
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class PipelineConfig(Config):
    """Everything that one run of the pipeline depends on.

    Attributes:
        name: Name of the pipeline and of the retrieval model that it pushes; models of other
            stages have the stage behind it, `<name>-ranking`.
        log_dir: The event log to read.
        run_dir: Where artifacts, metadata and `metrics.json` go.
        push_dir: Where versions of the servables go, a directory a stage; `<run_dir>/pushed`
            when empty.
        enable_cache: Whether TFX may answer a component from an earlier run.
        beam_pipeline_args: Options of every Beam job, e.g. the runner's.
        target_events: Event types that a model learns and is asked to predict;
            `*` is all. Said once here, it reaches every section that has it.
        candidate_types: Entity types that are recommended; likewise.
        exclude_seen: Event types whose entities are not recommended to the
            same user again; likewise.
        timeline: How timelines are cut from the log.
        transform: How raw features become model features.
        retrieval: The retrieval stage; there is none if it is null.
        ranking: The ranking stage; there is none unless it is given.
        representation: Features of images, which a run makes first and declares in `timeline`
            itself, or `vitrine image-features` (`in_pipeline`); none unless it is given.
        kubeflow: How steps run on Kubeflow Pipelines; of no meaning elsewhere.
    """

    name: str
    log_dir: str
    run_dir: str
    push_dir: str = ""
    enable_cache: bool = True
    beam_pipeline_args: tuple[str, ...] = ("--direct_running_mode=in_memory",)
    target_events: tuple[str, ...] = ("*",)
    candidate_types: tuple[str, ...] = ("*",)
    exclude_seen: tuple[str, ...] = ()
    timeline: TimelineConfig = TimelineConfig()
    transform: TransformConfig = TransformConfig()
    retrieval: RetrievalConfig | None = RetrievalConfig()
    ranking: RankingConfig | None = None
    representation: RepresentationConfig | None = None
    kubeflow: KubeflowConfig = KubeflowConfig()

    @field_validator("name")
    @classmethod
    def _is_no_path(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                "It becomes a part of paths, of addresses and of names in Kubernetes. Expected at "
                "most 100 letters, digits, `.`, `_` and `-`, of which the first is a letter or a "
                f"digit. Received: {name!r}."
            )
        return name

    @model_validator(mode="before")
    @classmethod
    def _share(cls, values: Any) -> Any:
        """Hands what several sections must agree on to each of them."""
        if not isinstance(values, dict):
            return values
        shared = {key: values.get(key, cls.model_fields[key].default) for key in SHARED}
        # Of a wrong type: its own field says better what it should be.
        shared = {key: value for key, value in shared.items() if isinstance(value, list | tuple)}
        return {**values, **with_shared(cls, values, shared)}

    @model_validator(mode="before")
    @classmethod
    def _serve_what_is_evaluated(cls, values: Any) -> Any:
        """Hands the length of timelines to what answers: `exclude_seen` looks equally far back."""
        sections = values if isinstance(values, dict) else {}
        timeline, retrieval = (sections.get(name, {}) for name in ("timeline", "retrieval"))
        index = retrieval.get("index", {}) if isinstance(retrieval, dict) else None
        if not isinstance(timeline, dict) or not isinstance(index, dict):
            return values  # off, or of a wrong type, which its own field says better
        key = "max_events_per_example"
        longest = timeline.get(key, TimelineConfig.model_fields[key].default)
        if index.get("seen_events", longest) != longest:
            raise ValueError(
                f"`retrieval.index.seen_events` ({index['seen_events']}) is `timeline.{key}` "
                f"({longest}), as far as the evaluation sees; set that one alone."
            )
        return {**values, "retrieval": {**retrieval, "index": {**index, "seen_events": longest}}}

    @model_validator(mode="before")
    @classmethod
    def _choose_within_the_context(cls, values: Any) -> Any:
        """Hands the context of chunks to the Trainer: a window that it chooses fits in it."""
        sections = values if isinstance(values, dict) else {}
        timeline, retrieval = (sections.get(name, {}) for name in ("timeline", "retrieval"))
        trainer = retrieval.get("trainer", {}) if isinstance(retrieval, dict) else None
        key = "context_events"
        known = TimelineConfig.model_fields[key].default
        context = timeline.get(key, known) if isinstance(timeline, dict) else known
        if not isinstance(trainer, dict) or not isinstance(context, int):
            return values  # off, or of a wrong type, which its own field says better
        if trainer.get(key, context) != context:
            raise ValueError(f"Set `timeline.{key}`, not `retrieval.trainer.{key}`.")
        return {**values, "retrieval": {**retrieval, "trainer": {**trainer, key: context}}}

    @model_validator(mode="before")
    @classmethod
    def _label_once(cls, values: Any) -> Any:
        """Hands what is predicted to what makes the rows, learns them and judges them."""
        ranking = values.get("ranking") if isinstance(values, dict) else None
        if not isinstance(ranking, dict) or not isinstance(ranking.get("label", {}), dict):
            return values  # off, or of a wrong type, which its own field says better
        defaults = LabelConfig().model_dump()

        def complete(given: dict[str, Any]) -> dict[str, Any]:
            found = defaults | given
            return {key: tuple(one) if isinstance(one, list) else one for key, one in found.items()}

        label = complete(ranking.get("label", {}))

        def labelled(section: Any, where: str) -> Any:
            given = section.get("label", label) if isinstance(section, dict) else label
            if isinstance(given, dict) and complete(given) != label:
                raise ValueError(f"Set `ranking.label`, not `{where}.label`.")
            return section | {"label": label} if isinstance(section, dict) else section

        inside = {
            name: labelled(ranking.get(name, {}), f"ranking.{name}")
            for name in ("trainer", "evaluation")
        }
        timeline = labelled(values.get("timeline", {}), "timeline")
        return {**values, "timeline": timeline, "ranking": {**ranking, **inside}}

    @model_validator(mode="before")
    @classmethod
    def _declare_image_features(cls, values: Any) -> Any:
        """Declares the fields that the run itself makes."""
        section = values.get("representation") if isinstance(values, dict) else None
        timeline = values.get("timeline", {}) if isinstance(values, dict) else None
        if not isinstance(section, dict) or not isinstance(timeline, dict):
            return values  # off, or of a wrong type, which its own field says better
        try:
            made = RepresentationConfig.model_validate(section)
            declared = CatalogueFields.model_validate(timeline.get(_FIELDS, {}))
        except ValidationError:
            return values  # which their own fields say
        if not made.in_pipeline:
            return values
        fields = made.declare(declared).model_dump()
        return {**values, "timeline": {**timeline, _FIELDS: fields}}

    @model_validator(mode="before")
    @classmethod
    def _sections_of_a_stage(cls, values: Any) -> Any:
        """Names the new position of sections that were at the top once."""
        for key in RetrievalConfig.model_fields:
            if isinstance(values, dict) and key in values:
                raise ValueError(
                    f"`{key}` is a section of the retrieval stage: write `retrieval.{key}`, and in "
                    f"a file `{key}:` indented below `retrieval:`."
                )
        return values

    @model_validator(mode="before")  # the last of these runs first
    @classmethod
    def _as_in_a_file(cls, values: Any) -> Any:
        return without_objects(cls, values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _validated_before_the_push(self) -> PipelineConfig:
        for stage in self.stages:
            section: StageConfig = getattr(self, stage)
            if section.serving_validation.puts_into(self.push_dir_of(stage)):
                raise ValueError(
                    f"`{stage}.serving_validation.base_path` "
                    f"({section.serving_validation.base_path}) is the push directory: users would "
                    "be answered by what is still to be validated. Name the directory that a "
                    "staging server watches."
                )
        return self

    @model_validator(mode="after")
    def _found_by_workers(self) -> PipelineConfig:
        if self.shared_trainings and "://" in self.run_dir:
            raise ValueError(
                f"`{self.shared_trainings[0]}.workers` read and write `run_dir`, which is a folder "
                "of this machine while its address is in an object store. Name a volume that all "
                "of them mount."
            )
        return self

    @model_validator(mode="after")
    def _trained_as_it_is_asked(self) -> PipelineConfig:
        if self.retrieval is None:
            return self
        model, timeline = self.retrieval.trainer.model, self.timeline
        if model.reads_queries and timeline.request_query == "empty":
            raise ValueError(
                "`retrieval.trainer.model.query.use_query` trains on the queries of events, but "
                "held-out requests have none with `timeline.request_query: empty`: the model would "
                "be measured without what it learned from. Set `timeline.request_query: target`, "
                "or leave `use_query` off."
            )
        window = model.longest_window or 1  # None follows from the log, and fits
        if window > timeline.context_events:
            raise ValueError(
                f"`retrieval.trainer.model.{model.WINDOW_KEY}` ({window}) is more "
                "events than a chunk of a long timeline repeats, `timeline.context_events` "
                f"({timeline.context_events}): the targets behind them would be learned from "
                "shorter histories than are served. Raise the second, or lower the first."
            )
        return self

    @model_validator(mode="after")
    def _fields_are_declared(self) -> PipelineConfig:
        present = [
            *ITEM_FEATURES,
            *LINKS,
            *(name.removeprefix("catalogue/") for name in self.timeline.catalogue_fields.features),
        ]
        for stage in self.stages:
            model = getattr(self, stage).trainer.model
            read = {"candidate.features": model.candidate.features}
            if stage == "ranking":
                read["similarity"] = model.compared
            for key, name in ((key, name) for key, names in read.items() for name in names):
                if name not in present:
                    raise ValueError(
                        f"`{stage}.trainer.model.{key}` names `{name}`, which "
                        "`timeline.catalogue_fields` does not declare. There are "
                        f"{', '.join(present)}."
                    )
        return self

    @model_validator(mode="after")
    def _clicks_are_known(self) -> PipelineConfig:
        section = self.representation
        if section and section.in_pipeline and not (section.encoder or self.timeline.label):
            raise ValueError(
                "`representation` trains an encoder, and nothing says what a click is: give "
                "`ranking.label`, or `timeline.label` where there is no ranking stage; or set "
                "`representation.encoder` to one that is trained."
            )
        return self

    @model_validator(mode="after")
    def _ngrams_are_read(self) -> PipelineConfig:
        ngrams = self.transform.ngrams
        if ngrams is None:
            return self
        for stage in self.stages:
            model = getattr(self, stage).trainer.model
            read = {}
            if "title" in model.candidate.features:
                read["candidate.max_title_tokens"] = self.transform.title_length
            if model.reads_queries:
                read[model.QUERY_TOKENS_KEY] = self.transform.query_length
            for key, words in read.items():
                found = attrgetter(key)(model)
                if found < words + ngrams.limit:
                    raise ValueError(
                        f"`{stage}.trainer.model.{key}` ({found}) cuts off n-grams, of which there "
                        f"are up to {ngrams.limit} (`transform.ngrams.limit`) behind up to {words} "
                        f"words. Set it to {words + ngrams.limit}, or lower these."
                    )
        return self

    @model_validator(mode="after")
    def _ranks_as_it_is_asked(self) -> PipelineConfig:
        window = self.ranking.trainer.model.window if self.ranking else 0
        if window > self.timeline.context_events:
            raise ValueError(
                f"`ranking.trainer.model.window` ({window}) is more events than a chunk of a long "
                f"timeline repeats, `timeline.context_events` ({self.timeline.context_events}). "
                "Raise the second, or lower the first."
            )
        if self.ranking and window > self.ranking.label.max_history:
            raise ValueError(
                f"`ranking.trainer.model.window` ({window}) is more events than a held-out page "
                f"has, `ranking.label.max_history` ({self.ranking.label.max_history}). Raise the "
                "second, or lower the first."
            )
        if not self.stages:
            raise ValueError("Nothing would be trained: give `retrieval`, `ranking` or both.")
        return self

    @property
    def derived(self) -> tuple[str, ...]:
        """Dotted keys of values and sections that are set by another key, e.g. `ranking.label`."""
        return (*DERIVED, *(["timeline.label"] if self.ranking else []))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that are trained and pushed."""
        return tuple(one.name for one in STAGES.values() if getattr(self, one.name) is not None)

    @property
    def makes_features(self) -> bool:
        """Whether a run makes features of images, as its first stage."""
        return self.representation is not None and self.representation.in_pipeline

    @property
    def timeline_of_log(self) -> TimelineConfig:
        """How the log is read before a run has made fields, where it makes some."""
        if self.representation is None or not self.makes_features:
            return self.timeline
        fields = self.representation.undeclare(self.timeline.catalogue_fields)
        return self.timeline.model_copy(update={_FIELDS: fields})

    @property
    def shared_trainings(self) -> tuple[str, ...]:
        """Keys of the Trainers whose training several workers share."""
        trainers = {f"{stage}.trainer": getattr(self, stage).trainer for stage in self.stages}
        if self.ranking and self.ranking.pretraining:
            trainers["ranking.pretraining"] = self.ranking.pretraining
        if self.representation and self.makes_features and not self.representation.encoder:
            trainers["representation.trainer"] = self.representation.trainer
        return tuple(key for key, trainer in trainers.items() if trainer.workers > 1)

    def push_dir_of(self, stage: Stage) -> str:
        """Returns the directory that holds the versions of a stage, one integer name each."""
        return posixpath.join(self.push_dir or posixpath.join(self.run_dir, "pushed"), stage)

    def model_name(self, stage: Stage) -> str:
        """Returns what requests call the model of a stage."""
        return STAGES[stage].model_name(self.name)

    def pushed_json(self, stage: Stage) -> str:
        """Returns what a pushed version depends on: neither how it was run nor other stages."""
        exclude = RUN_ONLY | (set(STAGES) - {stage})
        return json.dumps(self.model_dump(mode="json", exclude=exclude), sort_keys=True)

    def to_yaml(self) -> str:
        """Returns the resolved configuration, every default spelled out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
