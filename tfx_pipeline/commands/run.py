"""`vitrine run`: a pipeline run as a product, with `metrics.json` beside it."""

from __future__ import annotations

import shlex
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from tfx_pipeline.commands.log_check import check_log
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config_file import differences
from tfx_pipeline.config_file import load_config
from tfx_pipeline.datasets.problem import counted
from tfx_pipeline.evaluation.config import MOST_POPULAR
from tfx_pipeline.evaluation.config import NEIGHBOURS
from tfx_pipeline.stages.table import ENCODER_METRICS
from tfx_pipeline.stages.table import REPRESENTATION
from tfx_pipeline.stages.table import STAGES
from tfx_pipeline.stages.table import StageEntry
from transforms.storage import is_store
from transforms.storage import place

_WRITABLE = ".writable"  # written to a store and deleted, to see whether it can be
REFUSED = 3  # what `vitrine run` returns when the gate refused; click returns 2 for wrong usage


def run_pipeline(name_or_path: str, overrides: tuple[str, ...], started: float) -> tuple[str, bool]:
    """Runs a configuration on this machine.

    Args:
        name_or_path: A YAML file or the name of a shipped configuration.
        overrides: `key=value` pairs.
        started: When the command began, in seconds since the epoch.

    Returns:
        What to tell the user: the headline figures and where everything is;
        and whether the gate let the model through.

    Raises:
        ValueError: The configuration or the event log is not valid.
        RuntimeError: A component failed.
    """
    config = load_config(name_or_path, overrides)
    click.echo(check_log(config))
    require_writable(config)
    click.echo(describe(config, name_or_path, overrides))
    metrics, _, cached = execute(config)
    text = summarise(config, metrics, time.time() - started, cached)
    return text, not refused_stages(metrics)


def require_writable(config: PipelineConfig) -> None:
    """Makes the directories of a run, before anything slow finds out that it cannot.

    Raises:
        StoreError: An object store does not let it be written to.
        ValueError: One cannot be made or written to.
    """
    pushed = [("push_dir", config.push_dir_of(stage)) for stage in config.stages]
    for key, address in (("run_dir", config.run_dir), *pushed):
        folder = place(address)
        try:
            if is_store(folder):
                (folder / _WRITABLE).write_text("")
                (folder / _WRITABLE).unlink()
                continue
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ValueError(
                f"`{key}` ({address}) has to be a directory that can be written to: {error}. Name "
                f"another, for example with `--set {key}=...`, or change its permissions."
            ) from error


def execute(config: PipelineConfig) -> tuple[dict[str, dict[str, Any]], float, tuple[str, ...]]:
    """Runs the pipeline and writes `metrics.json`.

    Returns:
        The metrics, the wall time in seconds with TFX's import, and the
        components that came from the cache.
    """
    started = time.time()
    file = _config_file(config)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(config.to_yaml(), encoding="utf-8")
    # TFX takes half a minute to import, which a mistake in the configuration should not cost.
    from tfx_pipeline.evaluation.run_metrics import write_run_metrics
    from tfx_pipeline.runners.local import run_locally

    outputs = run_locally(config)
    metrics = write_run_metrics(place(config.run_dir) / "metrics.json", outputs.artifacts)
    return metrics, time.time() - started, outputs.cached


def refused_stages(metrics: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Returns the stages whose model a gate refused, and which thresholds it missed."""
    gates = {stage: entry.metrics_in(metrics).get("gate", {}) for stage, entry in STAGES.items()}
    return {
        stage: gate.get("failures", [])
        for stage, gate in gates.items()
        if not gate.get("blessed", 1)
    }


def summarise(
    config: PipelineConfig,
    metrics: dict[str, dict[str, Any]],
    seconds: float,
    cached: tuple[str, ...],
) -> str:
    """Returns the figures of a run and where its results are, in a few lines."""
    lines = representation_lines(metrics.get(REPRESENTATION, {}))
    for stage in (STAGES[name] for name in config.stages):
        lines += stage_lines(stage, stage.metrics_in(metrics))
    lines.append(
        f"wall   {seconds:.0f} s"
        + (f", {counted(len(cached), 'component')} from cache" if cached else "")
    )
    lines.append(f"all    {place(config.run_dir) / 'metrics.json'}")
    lines.append(f"page   vitrine report {shlex.quote(config.run_dir)}")
    if len(refused_stages(metrics)) < len(config.stages):
        lines.append(f"serve  vitrine serve --run {shlex.quote(config.run_dir)}")
    return "\n".join(lines)


def representation_lines(metrics: dict[str, Any]) -> list[str]:
    """Returns how well an encoder of images learned, and where it is."""
    validation, features = metrics.get("validation", {}), metrics.get("features")
    shown = [key for key in ENCODER_METRICS if key in validation]
    measured = " · ".join(f"{key} {validation[key]:.4f}" for key in shown)
    lines = [f"images {measured}"] if measured else []
    if features:
        lines.append(f"       encoder {features['fingerprint']} in {features['folder']}")
    return lines


def stage_lines(stage: StageEntry, metrics: dict[str, dict[str, Any]]) -> list[str]:
    """Returns the figures of a stage, and what its gates said."""
    headline = stage.headline
    test = metrics.get("test", {})
    chosen = [f"chosen {key} {why}" for key, why in metrics.get("chosen", {}).items()]
    shown = [f"{key} {test[key]:.4f}" for key in headline if key in test]
    if "users" in test:
        shown.append(f"over {counted(int(test['users']), 'user')}")
    lines = [*([] if stage.plain_names else [stage.name]), *chosen, "test   " + " · ".join(shown)]
    for prefix in (MOST_POPULAR, NEIGHBOURS):  # on the same users
        beside = [f"{key} {test[prefix + key]:.4f}" for key in headline if prefix + key in test]
        if beside:
            lines.append(f"       {prefix.rstrip('/')}: " + " · ".join(beside))
    first = headline[0]
    if test.get(first, 1.0) <= test.get(MOST_POPULAR + first, 0.0):
        lines.append(f"note   {first} is no better than that of showing everybody the most popular")
    for name, key in (("index", "index"), ("lists", "neighbours")):
        if key in metrics:
            figures = " · ".join(f"{k} {v:.4g}" for k, v in metrics[key].items())
            lines.append(f"{name}  {figures}")
    gate = metrics.get("gate", {})
    if gate and not gate.get("blessed", 1):
        lines.append("gate   NOT BLESSED, nothing was pushed: " + "; ".join(gate["failures"]))
    elif "not_pushed" in gate:
        lines.append(f"push   nothing was pushed: {gate['not_pushed']}")
    if "no_baseline" in gate:
        lines.append(f"base   no change was measured: {gate['no_baseline']}")
    return lines


def _config_file(config: PipelineConfig) -> Path:
    return place(config.run_dir) / "config.yaml"


def describe(config: PipelineConfig, name_or_path: str, overrides: tuple[str, ...]) -> str:
    """Says where the resolved configuration is and what the overrides changed."""
    line = f"config {_config_file(config)} holds every value"
    try:
        changed = differences(config, load_config(name_or_path))
    except ValueError:  # the file is not whole without its overrides
        changed = list(overrides)
    return "\n  ".join([f"{line}; unlike {name_or_path}:", *changed]) if changed else line
