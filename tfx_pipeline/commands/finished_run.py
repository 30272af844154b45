"""Finds a finished run, so that commands need not be told what a run already knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from serving.publishing.versions import pushed_versions
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config_file import load_config
from tfx_pipeline.stages.table import STAGES
from tfx_pipeline.stages.table import StageEntry
from transforms.storage import place

RUNS = Path("runs")


def find_run(run_dir: Path | None, overrides: tuple[str, ...] = ()) -> PipelineConfig:
    """Returns the configuration of a run, which is where it is now and not where it was made.

    Args:
        run_dir: Directory of the run; the newest one below `runs` when None.
        overrides: `key=value` pairs.

    Raises:
        ValueError: There is no such run, or an override does not fit.
    """
    if run_dir is None:
        runs = sorted(RUNS.glob("*/metrics.json"), key=lambda path: path.stat().st_mtime)
        if not runs:
            raise ValueError(
                f"There is no finished run below `{RUNS}`. Make one with `vitrine run CONFIG`, or "
                "name its directory."
            )
        run_dir = runs[-1].parent
    if not (run_dir / "config.yaml").is_file():
        raise ValueError(f"{run_dir} is not the directory of a run: it has no config.yaml.")
    return load_config(str(run_dir / "config.yaml"), (f"run_dir={run_dir}", *overrides))


def refusal(config: PipelineConfig) -> str:
    """Says by which gates the last models of a run were refused; nothing if none was."""
    file = place(config.run_dir) / "metrics.json"
    metrics = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    stages = [STAGES[name] for name in config.stages]
    found = [_refusal(config, stage, stage.metrics_in(metrics)) for stage in stages]
    return "\n".join(found).strip()


def _refusal(config: PipelineConfig, stage: StageEntry, metrics: dict[str, Any]) -> str:
    gate = metrics.get("gate")
    if not gate or gate.get("blessed", 1):
        return ""
    served = pushed_versions(config.push_dir_of(stage.name))
    then = (
        f"Version {served[-1]}, pushed before, is the newest."
        if served
        else "There is nothing to serve until a run passes its gates."
    )
    where = "" if stage.plain_names else f" in the stage {stage.name}"
    return (
        f"The last run in {config.run_dir} was refused{where}, and pushed nothing: "
        f"{'; '.join(gate['failures'])}. {then}"
    )
