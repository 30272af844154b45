"""`metrics.json`: the headline figures of a run, from the files of its components."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from serving.publishing.origin import NO_BASELINE
from serving.publishing.origin import NOT_PUSHED
from serving.sources.combination import COMBINATION
from tfx_pipeline.components.verdict import REPORT
from tfx_pipeline.evaluation.config import MOST_POPULAR
from tfx_pipeline.evaluation.config import format_slice
from tfx_pipeline.image_features.encoder import fingerprint_of
from tfx_pipeline.stages.table import FEATURE_BUILDER
from tfx_pipeline.stages.table import REPRESENTATION
from tfx_pipeline.stages.table import STAGES
from tfx_pipeline.stages.table import StageEntry
from transforms import features
from transforms.storage import place
from transforms.storage import replace_text

TRAINING = "training.json"
_WITHOUT_HISTORY = format_slice([(features.SLICE_ACTIVITY, features.NO_HISTORY)])


def write_run_metrics(
    path: str | Path, artifacts: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, Any]]:
    """Gathers the metrics of a run and writes them as JSON.

    Args:
        path: The file to write.
        artifacts: Node id -> output key -> directory, as the local runner
            returns them. What a run did not do is left out.

    Returns:
        What `stage_metrics` says of the retrieval stage and, under their names, of the others;
        under `representation` what `representation_metrics` says.
    """
    metrics: dict[str, dict[str, Any]] = {}
    for stage in STAGES.values():
        if found := stage_metrics(artifacts, stage):
            metrics |= found if stage.plain_names else {stage.name: found}
    if found := representation_metrics(artifacts):
        metrics[REPRESENTATION] = found
    replace_text(place(path), json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    return metrics


def stage_metrics(
    artifacts: Mapping[str, Mapping[str, str]], stage: StageEntry
) -> dict[str, dict[str, Any]]:
    """Gathers the metrics of a stage.

    Args:
        artifacts: As of `write_run_metrics`.
        stage: The stage.

    Returns:
        `chosen` (the Trainer's values that follow from the log, each with its reason),
        `validation` (the best validation metrics of the training), `test`
        (every metric over all users), `validation_slices` and `slices` (slice
        -> metrics; of the validation those without history alone), `sources` (by
        users with and without history: what their order is, `joined` or one source,
        and what each reaches on the validation split), `index`
        (recall of the index, and latency in ms), `neighbours` (recall, error of weights
        and coverage of the neighbour lists), `serving` (latency over gRPC in ms), `gate`
        (`blessed`, 1 or 0, `failures`, the thresholds that were missed, `no_baseline`, why no
        change was measured, if none was, and `not_pushed`, why nothing was pushed, if nothing
        was).
    """

    def directory(component: str, key: str) -> Path | None:
        uri = artifacts.get(stage.component_id(component), {}).get(key)
        return Path(uri) if uri else None

    metrics: dict[str, dict[str, Any]] = {}
    training = directory("trainer", "model_run")
    if training and (training / TRAINING).exists():
        report = _read(training / TRAINING)
        if "chosen" in report:
            metrics["chosen"] = {
                key: f"{choice['value']}: {choice['reason']}"
                for key, choice in report["chosen"].items()
            }
        metrics["validation"] = _beside_popularity(report)
        if "without_history" in report:
            slices = {_WITHOUT_HISTORY: _beside_popularity(report["without_history"])}
            metrics["validation_slices"] = slices
    combination = directory("source-combiner", "combination")
    if combination:
        report = _read(combination / COMBINATION)
        metrics["sources"] = {name: report[name] for name in ("chosen", "validation")}
    evaluation = directory("evaluator", "evaluation")
    if evaluation:
        metrics |= _evaluated(evaluation)
        baseline = directory("latest-blessed", "model")
        if baseline and (baseline / NO_BASELINE).exists():
            reason = (baseline / NO_BASELINE).read_text(encoding="utf-8").strip()
            metrics["gate"]["no_baseline"] = reason
    for component, name, select in (
        ("index-validator", "index", _index),
        ("neighbour-validator", "neighbours", _neighbours),
        ("serving-validator", "serving", _serving),
    ):
        blessing = directory(component, "blessing")
        if blessing and (blessing / REPORT).exists():
            report = _read(blessing / REPORT)
            metrics[name] = select(report)
            if not report.get("blessed", True):
                gate = metrics.setdefault("gate", {"blessed": 0, "failures": []})
                gate["blessed"] = 0
                gate["failures"] += [f"{name}: {reason}" for reason in report.get("reasons", [])]
    pushed = directory("pusher", "pushed_model")
    if pushed and (pushed / NOT_PUSHED).exists():
        reason = (pushed / NOT_PUSHED).read_text(encoding="utf-8").strip()
        metrics.setdefault("gate", {})["not_pushed"] = reason
    return metrics


def representation_metrics(
    artifacts: Mapping[str, Mapping[str, str]],
) -> dict[str, dict[str, Any]]:
    """Gathers what is known of features of images; nothing where a run made none.

    Args:
        artifacts: As of `write_run_metrics`.

    Returns:
        `validation` (of the encoder on held-out pages, where it was trained), `features` (the
        encoder's `fingerprint`, and the `folder` that `representation.encoder` takes).
    """
    found: dict[str, dict[str, Any]] = {}
    training = Path(artifacts.get(f"{REPRESENTATION}-trainer", {}).get("model_run", ""), TRAINING)
    if training.is_file():
        found["validation"] = _numbers(_read(training)["best"])
    folder = artifacts.get(FEATURE_BUILDER, {}).get("features")
    if folder:
        found["features"] = {"fingerprint": fingerprint_of(Path(folder)), "folder": folder}
    return found


def _evaluated(evaluation: Path) -> dict[str, dict[str, Any]]:
    """Returns test metrics, slices and the verdict."""
    from tfx_pipeline.evaluation.report import read_failures
    from tfx_pipeline.evaluation.report import read_metrics

    slices = read_metrics(evaluation)
    overall = slices.pop("", {})
    without = overall.get("users_without_target", 0.0)
    if without:
        logging.warning(
            "%d of %d test users have no target and are in no mean.",
            without,
            without + overall.get("users", 0.0),
        )
    failures = read_failures(evaluation)
    return {
        "test": overall,
        "slices": slices,
        "gate": {"blessed": int(not failures), "failures": failures},
    }


def _beside_popularity(report: Mapping[str, Any]) -> dict[str, float]:
    """Returns metrics of the model, and those of the most popular items beside them."""
    popular = _numbers(report.get("most_popular", {}))
    named = {f"{MOST_POPULAR}{name}": value for name, value in popular.items() if "@" in name}
    return _numbers(report["best"]) | named


def _index(report: Mapping[str, Any]) -> dict[str, float]:
    """Returns the recall of the index and the latency of what answers."""
    found = {name: float(value) for name, value in report.items() if name.startswith("recall@")}
    for name in ("scann", "answer"):
        for quantile, value in report.get(name, {}).get("latency_ms", {}).items():
            if quantile.startswith("p"):  # beside them is how many queries were timed
                found[f"{name}_latency_ms_{quantile}"] = float(value)
    return found


def _neighbours(report: Mapping[str, Any]) -> dict[str, float]:
    """Returns how neighbour lists compare with their recount."""
    wanted = ("recall", "weight_error", "coverage")
    return _numbers({name: report[name] for name in wanted if name in report})


def _serving(report: Mapping[str, Any]) -> dict[str, float]:
    """Returns the latency of a release candidate that was asked through a server."""
    latency = _numbers(report.get("latency_ms", {}))
    return {f"latency_ms_{quantile}": value for quantile, value in latency.items()}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Returns the entries that are finite numbers: an AUC without a positive is none."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
