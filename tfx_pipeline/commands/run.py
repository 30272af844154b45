"""`vitrine run`: a pipeline run as a product, with `metrics.json` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config import load_config
from tfx_pipeline.datasets.event_log import EventLog

HEADLINE = ("hr@10", "hr@50", "ndcg@10", "mrr")


def run_pipeline(name_or_path: str, overrides: tuple[str, ...]) -> str:
    """Runs a configuration on this machine.

    Args:
        name_or_path: A YAML file or the name of a shipped configuration.
        overrides: `key=value` pairs.

    Returns:
        What to tell the user: the headline figures and where everything is.

    Raises:
        ValueError: The configuration or the event log is not valid.
        RuntimeError: A component failed.
    """
    config = load_config(name_or_path, overrides)
    _require_log(config)
    print(config.to_yaml())
    return summarise(config, *execute(config))


def execute(config: PipelineConfig) -> tuple[dict[str, dict[str, Any]], float, tuple[str, ...]]:
    """Runs the pipeline and writes `metrics.json`.

    Returns:
        The metrics, the wall time in seconds, and the components that came
        from the cache.
    """
    # TFX takes half a minute to import, which a mistake in the configuration should not cost.
    from tfx_pipeline.evaluation.run_metrics import write_run_metrics
    from tfx_pipeline.runners.local import run_locally

    outputs = run_locally(config)
    metrics = write_run_metrics(Path(config.run_dir) / "metrics.json", outputs.artifacts)
    return metrics, outputs.seconds, outputs.cached


def summarise(
    config: PipelineConfig,
    metrics: dict[str, dict[str, Any]],
    seconds: float,
    cached: tuple[str, ...],
) -> str:
    """Returns the figures of a run and where its results are, in a few lines."""
    test = metrics.get("test", {})
    shown = " · ".join(
        f"{key} {test[key]:.4f}" for key in ("hr@10", "hr@50", "ndcg@10", "mrr") if key in test
    )
    lines = [f"test   {shown}"]
    if "index" in metrics:
        lines.append("index  " + " · ".join(f"{k} {v:.4g}" for k, v in metrics["index"].items()))
    lines.append(
        f"wall   {seconds:.0f} s" + (f", {len(cached)} components from cache" if cached else "")
    )
    gate = metrics.get("gate", {})
    if gate and not gate["blessed"]:
        lines.append("gate   NOT BLESSED, nothing was pushed: " + "; ".join(gate["failures"]))
    lines.append(f"all    {Path(config.run_dir) / 'metrics.json'}")
    lines.append(f"serve  vitrine serve --run {config.run_dir}")
    return "\n".join(lines)


def _require_log(config: PipelineConfig) -> None:
    """Refuses to start without an event log, before anything slow is imported."""
    try:
        EventLog(config.log_dir)
    except FileNotFoundError as error:
        raise ValueError(
            f"`log_dir` has no event log to read. {error} "
            "The README tells how to bring your own data."
        ) from None
