"""Finds a finished run, so that commands need not be told what a run already knows."""

from __future__ import annotations

import json
from pathlib import Path

from serving.publishing.versions import pushed_versions
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config import load_config

RUNS = Path("runs")


def find_run(run_dir: Path | None) -> PipelineConfig:
    """Returns the configuration of a run, which is where it is now and not where it was made.

    Args:
        run_dir: Directory of the run; the newest one below `runs` when None.

    Raises:
        ValueError: There is no such run.
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
    return load_config(str(run_dir / "config.yaml"), (f"run_dir={run_dir}",))


def refusal(config: PipelineConfig) -> str:
    """Says by which gates the last result of a run was refused; nothing if it was not."""
    metrics = Path(config.run_dir) / "metrics.json"
    gate = (
        json.loads(metrics.read_text(encoding="utf-8")).get("gate") if metrics.is_file() else None
    )
    if not gate or gate.get("blessed", 1):
        return ""
    served = pushed_versions(config.push_dir_of("retrieval"))
    then = (
        f"Version {served[-1]}, pushed before, is the newest."
        if served
        else "There is nothing to serve until a run passes its gates."
    )
    return (
        f"The last run in {config.run_dir} was refused, and pushed nothing: "
        f"{'; '.join(gate['failures'])}. {then}"
    )
