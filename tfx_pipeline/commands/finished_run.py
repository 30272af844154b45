"""Finds a finished run, so that commands need not be told what a run already knows."""

from __future__ import annotations

from pathlib import Path

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
