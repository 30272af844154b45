"""TFX's Evaluator for every stage: its own executor, with three things handed to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from absl import logging
from tensorflow_model_analysis.proto import config_pb2
from tfx import v1 as tfx
from tfx.components.evaluator import executor as tfx_evaluator
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils
from tfx.types import component_spec
from tfx.types import standard_component_specs
from tfx.utils import path_utils
from tfx.utils import proto_utils

from serving.publishing.servable_file import SERVABLE
from serving.sources.config import ScoringConfig
from tfx_pipeline.artifacts import NeighbourLists
from tfx_pipeline.components.record_batches import bound_batches
from tfx_pipeline.evaluation.click_rates import write_click_rates
from tfx_pipeline.evaluation.config import RankingEvaluationConfig
from tfx_pipeline.evaluation.config import RetrievalEvaluationConfig
from tfx_pipeline.evaluation.eval_config import make_eval_config
from tfx_pipeline.evaluation.eval_config import with_data
from tfx_pipeline.evaluation.held_out import write_held_out
from tfx_pipeline.evaluation.page_eval_config import make_page_eval_config
from tfx_pipeline.evaluation.page_eval_config import with_click_rates
from tfx_pipeline.evaluation.popularity import write_most_popular
from tfx_pipeline.evaluation.popularity import write_popularity
from tfx_pipeline.stages.table import STAGES
from transforms.label_config import LabelConfig

EXTRACTION = {
    "retrieval": "tfx_pipeline.evaluation.extraction",
    "ranking": "tfx_pipeline.evaluation.page_extraction",
}
ITEM_POPULARITY = "item_popularity.parquet"
MOST_POPULAR_ITEMS = "most_popular.parquet"
CLICK_RATES = "click_rates.parquet"
CANDIDATES = "index/candidates.parquet"

NEIGHBOURS_KEY = "neighbours"

_MODEL = standard_component_specs.MODEL_KEY
_BASELINE = standard_component_specs.BASELINE_MODEL_KEY
_EXAMPLES = standard_component_specs.EXAMPLES_KEY
_EVAL_CONFIG = standard_component_specs.EVAL_CONFIG_KEY


class EvaluatorExecutor(tfx_evaluator.Executor):
    """Runs TFX's Evaluator, which reads timelines in batches of bounded size.

    Before it does, it leaves an empty baseline out (the first run has none,
    and TFX would try to load it), counts popularity in the training split and
    tells the metrics where, and where neighbours are, and names the module with
    our extractors.
    """

    def Do(  # noqa: N802, the name is TFX's
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates, writes TFMA's output and the blessing.

        Args:
            input_dict: Examples, model, the baseline, which may be empty, and neighbours,
                where there are any.
            output_dict: Evaluation and blessing.
            exec_properties: As of `Evaluator`.
        """
        bound_batches()
        inputs, properties = dict(input_dict), dict(exec_properties)
        if inputs.get(_BASELINE) and not _saved_model(inputs[_BASELINE]).exists():
            logging.info("There is no baseline: no change is measured in this run.")
            del inputs[_BASELINE]
        eval_config = config_pb2.EvalConfig()
        proto_utils.json_to_proto(properties[_EVAL_CONFIG], eval_config)
        evaluation = artifact_utils.get_single_uri(
            output_dict[standard_component_specs.EVALUATION_KEY]
        )
        Path(evaluation).mkdir(parents=True, exist_ok=True)
        write_held_out(artifact_utils.get_single_uri(inputs[_EXAMPLES]), evaluation)
        stage = properties["stage"]
        fill = {"retrieval": _with_popularity, "ranking": _with_click_rates}[stage]
        filled = fill(eval_config, inputs, Path(evaluation), properties)
        properties[_EVAL_CONFIG] = proto_utils.proto_to_json(filled)
        properties[standard_component_specs.MODULE_PATH_KEY] = EXTRACTION[stage]
        super().Do(inputs, output_dict, properties)


def _with_popularity(
    eval_config: config_pb2.EvalConfig,
    inputs: dict[str, list[Any]],
    evaluation: Path,
    properties: dict[str, Any],
) -> config_pb2.EvalConfig:
    """Returns the configuration of a retrieval evaluation with what only this run knows."""
    popularity = evaluation / ITEM_POPULARITY
    (train,) = artifact_utils.get_split_uris(inputs[_EXAMPLES], "train")
    write_popularity(train, popularity, properties["popularity_timelines"])
    servable = _servable(inputs[_MODEL])
    most_popular = popularity.with_name(MOST_POPULAR_ITEMS)
    write_most_popular(popularity, servable / CANDIDATES, most_popular)
    description = json.loads((servable / SERVABLE).read_text(encoding="utf-8"))
    counted = None
    if inputs.get(NEIGHBOURS_KEY):
        counted = {
            "neighbours": artifact_utils.get_single_uri(inputs[NEIGHBOURS_KEY]),
            "candidates": str(servable / CANDIDATES),
            "scoring": properties["scoring"],
        }
    return with_data(
        eval_config,
        int(description["candidates"]),
        str(popularity),
        str(most_popular),
        description["exclude_seen"],
        counted,
    )


def _with_click_rates(
    eval_config: config_pb2.EvalConfig,
    inputs: dict[str, list[Any]],
    evaluation: Path,
    properties: dict[str, Any],
) -> config_pb2.EvalConfig:
    """Returns the configuration of a ranking evaluation with what only this run knows."""
    label = LabelConfig.model_validate_json(properties["label"])
    (train,) = artifact_utils.get_split_uris(inputs[_EXAMPLES], "train")
    rates = evaluation / CLICK_RATES
    write_click_rates(train, rates, label, properties["popularity_timelines"])
    return with_click_rates(eval_config, str(rates))


class EvaluatorSpec(component_spec.ComponentSpec):
    """The specification of TFX's Evaluator, and the version of our code."""

    PARAMETERS = {
        **standard_component_specs.EvaluatorSpec.PARAMETERS,
        "stage": component_spec.ExecutionParameter(type=str),
        "label": component_spec.ExecutionParameter(type=str, optional=True),
        "popularity_timelines": component_spec.ExecutionParameter(type=int),
        "scoring": component_spec.ExecutionParameter(type=str, optional=True),
        "code_version": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        **standard_component_specs.EvaluatorSpec.INPUTS,
        NEIGHBOURS_KEY: component_spec.ChannelParameter(type=NeighbourLists, optional=True),
    }
    OUTPUTS = standard_component_specs.EvaluatorSpec.OUTPUTS
    TYPE_ANNOTATION = standard_component_specs.EvaluatorSpec.TYPE_ANNOTATION


class Evaluator(tfx.types.BaseBeamComponent):
    """Evaluates a model with TFMA and blesses it at its thresholds.

    The configuration says the stage: a `RetrievalEvaluationConfig` evaluates a servable
    (towers and index) on timelines, a `RankingEvaluationConfig` a ranker on page views.

    Args:
        examples: Raw examples with the splits `train` and `split`.
        model: What is evaluated: the signature `serving_default` of its SavedModel.
        baseline_model: The model that is served; an artifact without a
            SavedModel means that there is none, and change thresholds are
            then not checked.
        config: Metrics, slices and gates.
        code_version: Hash of the code that evaluates, for TFX's cache.
        split: The split that is evaluated; the test split of the stage when empty.
        monitor: The metric that chose the epoch of a retrieval model; see
            `make_eval_config`.
        neighbours: Neighbour lists, of type `NeighbourLists`: what they recommend is
            measured beside the model. None where nobody counted.
        scoring: How they score.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(EvaluatorExecutor)

    def __init__(
        self,
        examples: tfx.types.BaseChannel,
        model: tfx.types.BaseChannel,
        baseline_model: tfx.types.BaseChannel,
        config: RetrievalEvaluationConfig | RankingEvaluationConfig,
        code_version: str,
        split: str = "",
        monitor: str = "hr@10",
        neighbours: tfx.types.BaseChannel | None = None,
        scoring: ScoringConfig | None = None,
    ) -> None:
        label = None
        if isinstance(config, RankingEvaluationConfig):
            eval_config = make_page_eval_config(config)
            label = config.label.to_json()
        else:
            eval_config = make_eval_config(config, monitor)
        super().__init__(
            EvaluatorSpec(
                examples=examples,
                model=model,
                baseline_model=baseline_model,
                eval_config=eval_config,
                example_splits=json.dumps([split or STAGES[config.STAGE].test_split]),
                stage=config.STAGE,
                label=label,
                popularity_timelines=config.popularity_timelines,
                neighbours=neighbours,
                scoring=(scoring or ScoringConfig()).to_json() if neighbours else None,
                code_version=code_version,
                evaluation=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelEvaluation),
                blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
            )
        )


def _saved_model(models: list[Any]) -> Path:
    """Returns where the SavedModel of a Model artifact is, if it has one."""
    (artifact,) = models
    return Path(path_utils.serving_model_path(artifact.uri)) / "saved_model.pb"


def _servable(models: list[Any]) -> Path:
    """Returns the directory of the servable."""
    directory = _saved_model(models).parent
    if not (directory / SERVABLE).exists():
        raise FileNotFoundError(
            f"{directory / SERVABLE} is missing: the Evaluator judges servables of retrieval, "
            "which ServableBuilder writes, and not the towers of the Trainer."
        )
    return directory
