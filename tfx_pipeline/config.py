"""The configuration of a pipeline run: one YAML file, typed, with overrides."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import TypeVar

import yaml
from pydantic import ValidationError
from pydantic import field_validator
from pydantic import model_validator

from models.config import RetrievalTrainerConfig
from serving.index.config import IndexConfig
from serving.publishing.config import PusherConfig
from tfx_pipeline.components.serving_validator.config import ServingValidationConfig
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.evaluation.config import RetrievalEvaluationConfig
from transforms.base_config import Config
from transforms.base_config import explain
from transforms.config import TransformConfig

SHARED = ("target_events", "candidate_types", "exclude_seen")
RUN_ONLY = {"beam_pipeline_args", "enable_cache", "run_dir", "push_dir"}
CONFIGS = Path(__file__).parent / "configs"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
Kind = TypeVar("Kind", bound=Config)


class PipelineConfig(Config):
    """Everything that one run of the pipeline depends on.

    Attributes:
        name: Name of the pipeline and of the model that it pushes.
        log_dir: The event log to read.
        run_dir: Where artifacts, metadata and `metrics.json` go.
        push_dir: Where versions of the servable go; `<run_dir>/pushed` when empty.
        enable_cache: Whether TFX may answer a component from an earlier run.
        beam_pipeline_args: Options of every Beam job, e.g. the runner's.
        target_events: Event types that a model learns and is asked to predict;
            `*` is all. Said once here, it reaches every section that has it.
        candidate_types: Entity types that are recommended; likewise.
        exclude_seen: Event types whose entities are not recommended to the
            same user again; likewise.
        timeline: How timelines are cut from the log.
        transform: How raw features become model features.
        trainer: The model and how it is trained.
        index: How candidates are searched.
        evaluation: Metrics, slices and gates.
        serving_validation: How the candidate is asked through a server before the push.
        push: How versions are pushed.
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
    trainer: RetrievalTrainerConfig = RetrievalTrainerConfig()
    index: IndexConfig = IndexConfig()
    evaluation: RetrievalEvaluationConfig = RetrievalEvaluationConfig()
    serving_validation: ServingValidationConfig = ServingValidationConfig()
    push: PusherConfig = PusherConfig()

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
        values = dict(values)
        for key in SHARED:
            shared = values.get(key, cls.model_fields[key].default)
            for name, field in cls.model_fields.items():
                section = field.annotation
                if not (isinstance(section, type) and issubclass(section, Config)):
                    continue
                if key not in section.model_fields:
                    continue
                given = values.get(name) or {}
                if not isinstance(given, dict) or not isinstance(shared, list | tuple):
                    continue  # of a wrong type, which its own field says better
                given = dict(given)
                if list(given.setdefault(key, shared)) != list(shared):
                    raise ValueError(f"Set `{key}` at the top of the file, not in `{name}`.")
                values[name] = given
        return values

    @model_validator(mode="before")
    @classmethod
    def _serve_what_is_evaluated(cls, values: Any) -> Any:
        """Hands the length of timelines to what answers: `exclude_seen` looks equally far back."""
        sections = values if isinstance(values, dict) else {}
        timeline, index = (sections.get(name) or {} for name in ("timeline", "index"))
        if not isinstance(timeline, dict) or not isinstance(index, dict):
            return values  # of a wrong type, which its own field says better
        key = "max_events_per_example"
        longest = timeline.get(key, TimelineConfig.model_fields[key].default)
        if index.get("seen_events", longest) != longest:
            raise ValueError(
                f"`index.seen_events` ({index['seen_events']}) is `timeline.{key}` ({longest}), as "
                "far as the evaluation sees; set that one alone."
            )
        return {**values, "index": {**index, "seen_events": longest}}

    @model_validator(mode="after")
    def _enough_results(self) -> PipelineConfig:
        longest = max(self.evaluation.ks)
        if self.index.k < longest:
            raise ValueError(
                f"`index.k` ({self.index.k}) is how many results the servable returns, and "
                f"`evaluation.ks` asks for {longest}: raise the first or lower the second."
            )
        return self

    @model_validator(mode="after")
    def _validated_before_the_push(self) -> PipelineConfig:
        if self.serving_validation.puts_into(self.serving_base_path):
            raise ValueError(
                f"`serving_validation.base_path` ({self.serving_validation.base_path}) is the push "
                "directory: users would be answered by what is still to be validated. Name the "
                "directory that a staging server watches."
            )
        return self

    @model_validator(mode="after")
    def _trained_as_it_is_asked(self) -> PipelineConfig:
        model, timeline = self.trainer.model, self.timeline
        if model.reads_queries and timeline.request_query == "empty":
            raise ValueError(
                "`trainer.model.query.use_query` trains on the queries of events, but held-out "
                "requests have none with `timeline.request_query: empty`: the model would be "
                "measured without what it learned from. Set `timeline.request_query: target`, or "
                "leave `use_query` off."
            )
        if model.longest_window > timeline.context_events:
            raise ValueError(
                f"`trainer.model.{model.WINDOW_KEY}` ({model.longest_window}) is more events than "
                "a chunk of a long timeline repeats, `timeline.context_events` "
                f"({timeline.context_events}): the targets behind them would be learned from "
                "shorter histories than are served. Raise the second, or lower the first."
            )
        return self

    @property
    def serving_base_path(self) -> str:
        """The directory that holds the pushed versions, one integer name each."""
        return self.push_dir or str(Path(self.run_dir) / "pushed")

    def pushed_json(self) -> str:
        """Returns what a pushed version depends on; how it was run is left out."""
        return json.dumps(self.model_dump(mode="json", exclude=RUN_ONLY), sort_keys=True)

    def to_yaml(self) -> str:
        """Returns the resolved configuration, every default spelled out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_config(name_or_path: str, overrides: tuple[str, ...] = ()) -> PipelineConfig:
    """Loads a configuration file and applies `key=value` overrides.

    Args:
        name_or_path: A YAML file, or the name of one in `tfx_pipeline/configs`.
        overrides: Dotted keys with YAML values, e.g. `trainer.seed=2`.

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
            f"An override is written key=value, for example trainer.seed=2; received `{override}`."
        )
    *sections, leaf = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ValueError(f"`{section}` in the override `{override}` is a value, not a section.")
    values[leaf] = parse_yaml(value, override)
