"""Facts about a recorded run: data, code, configuration, verdicts. Free of TensorFlow and TFX."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tfx_pipeline.config import DERIVED
from tfx_pipeline.config import RUN_ONLY
from tfx_pipeline.config_file import leaves
from tfx_pipeline.config_file import parse_yaml
from tfx_pipeline.runners.recorded import CACHED
from tfx_pipeline.runners.recorded import RecordedRun
from tfx_pipeline.stages.table import STAGES
from tfx_pipeline.stages.table import StageEntry

GENERATOR = "timeline-example-gen"
_TRAINING = "training.json"  # what the Trainer writes about itself


def data_fingerprint(run: RecordedRun) -> str:
    """Returns the event log's fingerprint; "" if the run stopped before it was read."""
    step = run.steps.get(GENERATOR)
    return str(step.properties.get("input_fingerprint", "")) if step else ""


def code_versions(run: RecordedRun) -> dict[str, str]:
    """Returns the hash of the sources that each component ran."""
    return {node: step.code_version for node, step in run.steps.items() if step.code_version}


def configuration(run: RecordedRun) -> dict[str, Any]:
    """Returns the resolved configuration of a run, but for how it was run.

    Every stage's pusher has its part of it. Of a run that stopped before them the file
    `config.yaml` tells, which is of the newest run; of an older one nothing does.
    """
    pushers = [run.steps.get(stage.component_id("pusher")) for stage in STAGES.values()]
    found: dict[str, Any] = {}
    for pusher in filter(None, pushers):
        found |= pusher.properties.get("run_config") or {}
    stopped = run.newest and any(pusher is None for pusher in pushers)
    file = run.run_dir / "config.yaml"
    if stopped and file.is_file():
        given = parse_yaml(file.read_text(encoding="utf-8"), str(file)) or {}
        found = {key: value for key, value in given.items() if key not in RUN_ONLY}
    return found


def settings(run: RecordedRun) -> dict[str, Any]:
    """Returns the configuration by dotted key, each value once, by the key that sets it.

    A value that was left to the Trainer is the one that it chose; what is unset has no key.
    """
    given = dict(leaves(configuration(run), DERIVED)) | chosen(run)
    return {key: value for key, value in given.items() if value is not None}


def chosen(run: RecordedRun) -> dict[str, Any]:
    """Returns the values that the Trainers chose from the log, by dotted key."""
    found: dict[str, Any] = {}
    for stage in STAGES.values():
        folder = run.output(stage.component_id("trainer"), "model_run")
        if folder and (folder / _TRAINING).is_file():
            report = json.loads((folder / _TRAINING).read_text(encoding="utf-8"))
            for key, choice in report.get("chosen", {}).items():
                found[f"{stage.name}.trainer.{key}"] = choice["value"]
    return found


def stages_of(run: RecordedRun) -> list[StageEntry]:
    """Returns the stages that a run was configured to train, or has begun to."""
    known = configuration(run)
    return [
        stage
        for name, stage in STAGES.items()
        if known.get(name) is not None or stage.component_id("trainer") in run.steps
    ]


def gates(run: RecordedRun, stage: StageEntry) -> dict[str, bool]:
    """Returns the components that judged a stage, and whether each blessed it."""
    kinds = ("evaluator", "index-validator", "neighbour-validator", "serving-validator")
    return {
        node: bool(step.outputs["blessing"].properties.get("blessed"))
        for node in map(stage.component_id, kinds)
        if (step := run.steps.get(node)) and step.ended and "blessing" in step.outputs
    }


def verdict(run: RecordedRun, stage: StageEntry) -> str:
    """Says whether a stage was pushed, or which gates refused it; "" before the end."""
    pusher = run.steps.get(stage.component_id("pusher"))
    if pusher is None or not pusher.ended:
        return ""
    pushed: Mapping[str, Any] = pusher.outputs["pushed_model"].properties
    if pushed.get("pushed"):
        return f"pushed version {pushed.get('pushed_version', '?')}"
    refused = [gate for gate, blessed in gates(run, stage).items() if not blessed]
    return f"refused by {', '.join(refused)}" if refused else "not pushed"


def verdicts(run: RecordedRun) -> str:
    """Says what became of every stage."""
    found = {stage.name: verdict(run, stage) for stage in STAGES.values()}
    return "; ".join(f"{stage} {text}" for stage, text in found.items() if text)


def counted_steps(run: RecordedRun) -> str:
    """Says how many components ran and how many came from the cache."""
    states = [step.state for step in run.steps.values()]
    return f"{len(states) - states.count(CACHED)} ran, {states.count(CACHED)} from cache"


def headline(run: RecordedRun) -> dict[str, float]:
    """Returns the headline metrics of a run, by stage and name; none where none were measured."""
    evaluations = {
        stage: run.output(stage.component_id("evaluator"), "evaluation")
        for stage in STAGES.values()
    }
    if not any(evaluations.values()):
        return {}
    from tfx_pipeline.evaluation.report import read_metrics  # TFMA takes seconds to import

    found: dict[str, float] = {}
    for stage, evaluation in evaluations.items():
        overall = read_metrics(evaluation).get("", {}) if evaluation else {}
        prefix = "" if stage.plain_names else f"{stage.name}/"
        found |= {prefix + name: overall[name] for name in stage.headline if name in overall}
    return found
