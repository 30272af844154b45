"""The configuration of a pipeline run: one YAML file, typed, with overrides."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any
from typing import TypeVar
from typing import get_args

import yaml
from pydantic import ValidationError
from pydantic import field_validator
from pydantic import model_validator

from models.families import STAGES
from models.families import Stage
from models.input.config import ITEM_FEATURES
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.stages.config import RankingConfig
from tfx_pipeline.stages.config import RetrievalConfig
from tfx_pipeline.stages.config import StageConfig
from transforms.base_config import Config
from transforms.base_config import explain
from transforms.config import TransformConfig
from transforms.label_config import LabelConfig

SHARED = ("target_events", "candidate_types", "exclude_seen")
RUN_ONLY = {"beam_pipeline_args", "enable_cache", "run_dir", "push_dir"}
CONFIGS = Path(__file__).parent / "configs"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
Kind = TypeVar("Kind", bound=Config)


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
        return {**values, **_with_shared(cls, values, shared)}

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
    def _label_once(cls, values: Any) -> Any:
        """Hands what is predicted to what makes the rows, learns them and judges them."""
        ranking = values.get("ranking") if isinstance(values, dict) else None
        if not isinstance(ranking, dict) or not isinstance(ranking.get("label", {}), dict):
            return values  # off, or of a wrong type, which its own field says better
        defaults = LabelConfig().model_dump(mode="json")
        label = defaults | ranking.get("label", {})

        def labelled(section: Any, where: str) -> Any:
            given = section.get("label", label) if isinstance(section, dict) else label
            if isinstance(given, dict) and defaults | given != label:
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
    def _sections_of_a_stage(cls, values: Any) -> Any:
        """Names the new position of sections that were at the top once."""
        for key in RetrievalConfig.model_fields:
            if isinstance(values, dict) and key in values:
                raise ValueError(
                    f"`{key}` is a section of the retrieval stage: write `retrieval.{key}`, and in "
                    f"a file `{key}:` indented below `retrieval:`."
                )
        return values

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
        if model.longest_window > timeline.context_events:
            raise ValueError(
                f"`retrieval.trainer.model.{model.WINDOW_KEY}` ({model.longest_window}) is more "
                "events than a chunk of a long timeline repeats, `timeline.context_events` "
                f"({timeline.context_events}): the targets behind them would be learned from "
                "shorter histories than are served. Raise the second, or lower the first."
            )
        return self

    @model_validator(mode="after")
    def _fields_are_declared(self) -> PipelineConfig:
        present = [
            *ITEM_FEATURES,
            *(name.removeprefix("catalogue/") for name in self.timeline.catalogue_fields.features),
        ]
        for stage in self.stages:
            for name in getattr(self, stage).trainer.model.candidate.features:
                if name not in present:
                    raise ValueError(
                        f"`{stage}.trainer.model.candidate.features` names `{name}`, which "
                        "`timeline.catalogue_fields` does not declare. There are "
                        f"{', '.join(present)}."
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
        if not self.stages:
            raise ValueError("Nothing would be trained: give `retrieval`, `ranking` or both.")
        return self

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that are trained and pushed."""
        return tuple(stage for stage in STAGES if getattr(self, stage) is not None)

    def push_dir_of(self, stage: Stage) -> str:
        """Returns the directory that holds the versions of a stage, one integer name each."""
        return posixpath.join(self.push_dir or posixpath.join(self.run_dir, "pushed"), stage)

    def model_name(self, stage: Stage) -> str:
        """Returns what requests call the model of a stage."""
        return self.name if stage == "retrieval" else f"{self.name}-{stage}"

    def pushed_json(self, stage: Stage) -> str:
        """Returns what a pushed version depends on: neither how it was run nor other stages."""
        exclude = RUN_ONLY | (set(STAGES) - {stage})
        return json.dumps(self.model_dump(mode="json", exclude=exclude), sort_keys=True)

    def to_yaml(self) -> str:
        """Returns the resolved configuration, every default spelled out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def _with_shared(
    kind: type[Config], values: dict[str, Any], shared: dict[str, Any], where: str = ""
) -> dict[str, Any]:
    """Returns the sections of a configuration, each with the shared keys that it has.

    Args:
        kind: The configuration.
        values: What was given of it.
        shared: Values by key.
        where: Dotted key of the configuration, with a dot at its end.

    Raises:
        ValueError: A section says otherwise.
    """
    sections = {}
    for name, field in kind.model_fields.items():
        section = _section(field.annotation)
        given = values.get(name, {} if field.default is not None else None)
        if section is None or not isinstance(given, dict):
            continue  # no section, one that is off, or of a wrong type, which its own field says
        mine = {key: value for key, value in shared.items() if key in section.model_fields}
        for key, value in mine.items():
            if list(given.get(key, value)) != list(value):
                raise ValueError(f"Set `{key}` at the top of the file, not in `{where}{name}`.")
        if made := mine | _with_shared(section, given, shared, f"{where}{name}."):
            sections[name] = given | made
    return sections


def _section(annotation: Any) -> type[Config] | None:
    """Returns the configuration that a field holds, optional or not; None for any other field."""
    kinds = [kind for kind in get_args(annotation) or [annotation] if kind is not NoneType]
    kind = kinds[0]
    return kind if len(kinds) == 1 and isinstance(kind, type) and issubclass(kind, Config) else None


def load_config(name_or_path: str, overrides: tuple[str, ...] = ()) -> PipelineConfig:
    """Loads a configuration file and applies `key=value` overrides.

    Args:
        name_or_path: A YAML file, or the name of one in `tfx_pipeline/configs`.
        overrides: Dotted keys with YAML values, e.g. `retrieval.trainer.seed=2`.

    Returns:
        The typed configuration.

    Raises:
        ValueError: No such file, an override without `=`, an unknown key
            (the message names the nearest one), or a value of a wrong type.
    """
    return read_typed(PipelineConfig, _find(name_or_path), overrides)


def read_typed(kind: type[Kind], path: Path, overrides: tuple[str, ...] = ()) -> Kind:
    """Reads a YAML file as a typed configuration, with `key=value` overrides.

    Raises:
        ValueError: As `load_config`, but for a file that is not there.
    """
    values = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(values, dict):
        raise ValueError(f"{path} should hold keys and values, `name: value` on a line each.")
    for override in overrides:
        set_key(values, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ValueError(explain(error, str(path))) from None


def differences(config: PipelineConfig, base: PipelineConfig) -> list[str]:
    """Returns the values in which a configuration differs from another, a line each."""
    new, old = (dict(_leaves(c.model_dump(mode="json"))) for c in (config, base))
    keys = [key for key in (new | old) if new.get(key) != old.get(key)]
    return [f"{key}: {new.get(key, 'unset')} (was {old.get(key, 'unset')})" for key in keys]


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields dotted keys and values; what sections share is at the top alone."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        elif not (prefix and key in SHARED):
            yield prefix + key, value


def parse_yaml(text: str, where: str) -> Any:
    """Reads YAML; a mistake in it is a `ValueError` that says where."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"`{where}` is not valid YAML: {error}") from None


def _find(name_or_path: str) -> Path:
    """Returns the file for a path or for the name of a configuration that ships."""
    for path in (Path(name_or_path), CONFIGS / f"{name_or_path}.yaml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
    raise ValueError(
        f"No configuration `{name_or_path}`: give a YAML file, or one of these names: {known}."
    )


def set_key(values: dict[str, Any], override: str) -> None:
    """Sets one dotted key in nested dictionaries.

    Args:
        values: The dictionaries, changed in place.
        override: `section.key=value`, the value in YAML.

    Raises:
        ValueError: There is no `=`, or the key goes through a plain value.
    """
    key, separator, value = override.partition("=")
    if not separator:
        raise ValueError(
            "An override is written key=value, for example retrieval.trainer.seed=2; received "
            f"`{override}`."
        )
    *sections, leaf = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ValueError(f"`{section}` in the override `{override}` is a value, not a section.")
    values[leaf] = parse_yaml(value, override)
