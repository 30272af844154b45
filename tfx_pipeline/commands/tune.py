"""`vitrine tune`: a search for better values of a Trainer, on the validation split."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import click
import yaml

from models.tuning import Tuned
from models.tuning import tune_on
from tfx_pipeline.commands.log_check import check_log
from tfx_pipeline.commands.run import require_writable
from tfx_pipeline.config_file import given_values
from tfx_pipeline.config_file import load_config
from tfx_pipeline.config_file import set_key
from tfx_pipeline.stages.table import STAGES
from transforms.storage import is_store
from transforms.storage import place

if TYPE_CHECKING:
    from models.families import Stage
    from tfx_pipeline.config import PipelineConfig

# A file a stage: a search of one does not overwrite what that of the other found.
FILES: dict[Stage, str] = {"retrieval": "tuned.yaml", "ranking": "tuned-ranking.yaml"}


def tune_stage(
    name_or_path: str,
    overrides: tuple[str, ...],
    stage: Stage,
    metric: str | None,
    minutes: float,
    trials: int | None,
) -> str:
    """Searches for better values of the Trainer of a stage and writes them.

    The data stage runs once, or comes from TFX's cache; trials train on what it transformed.

    Args:
        name_or_path: A YAML file or the name of a shipped configuration.
        overrides: `key=value` pairs.
        stage: Whose Trainer.
        metric: What is compared; the Trainer's monitor when None.
        minutes: Time for trials.
        trials: Most of them, those of earlier calls included.

    Returns:
        What to tell the user: how much better it is, and what to run.

    Raises:
        ValueError: The configuration or the log is not valid, has no such stage, or no
            validation users.
        RuntimeError: A component failed, or no trial ended.
    """
    if metric:
        overrides = (*overrides, f"{stage}.trainer.validation.monitor={json.dumps(metric)}")
    config = _checked(name_or_path, overrides, stage)
    found = _search(config, stage, minutes, trials)
    path = Path(config.run_dir) / FILES[stage]
    write_tuned(path, given_values(name_or_path, overrides), stage, found)
    return f"{found}\nrun    vitrine run {shlex.quote(str(path))}"


def _checked(name_or_path: str, overrides: tuple[str, ...], stage: Stage) -> PipelineConfig:
    """Returns the configuration, after all that can be looked at before anything runs."""
    config = load_config(name_or_path, overrides)
    if stage not in config.stages:
        raise ValueError(
            f"`{name_or_path}` has no section `{stage}`, so there is no Trainer to tune. It has "
            f"{', '.join(config.stages)}: choose one of these with --stage."
        )
    if is_store(place(config.run_dir)):
        raise ValueError(
            f"`run_dir` ({config.run_dir}) is in an object store, and a search works in a folder. "
            "Name one with `--set run_dir=...`; `vitrine run` then takes the store again."
        )
    click.echo(check_log(config))
    require_writable(config)
    return config


def _search(config: PipelineConfig, stage: Stage, minutes: float, trials: int | None) -> Tuned:
    """Runs the data stage, and trials on what it transformed."""
    # TensorFlow and TFX take half a minute to import, which a mistake should not cost.
    import models  # noqa: F401  (before TensorFlow)
    from models.training.data import TrainingData
    from tfx_pipeline.runners.transformed import transformed_log

    made = transformed_log(config)
    files = (made.files(split) for split in ("train", "catalogue", STAGES[stage].validation_split))
    return tune_on(
        TrainingData(made.output(), *files),
        getattr(config, stage).trainer,
        Path(config.run_dir) / "tuning" / f"{stage}.sqlite",
        f"{made.graph} {made.examples}",
        minutes,
        trials,
    )


def write_tuned(path: Path, values: dict[str, Any], stage: Stage, found: Tuned) -> None:
    """Writes a configuration file with the values that were found.

    Args:
        path: The file.
        values: What the configuration gave, changed in place.
        stage: Whose Trainer was tuned.
        found: The best trial.
    """
    for key, value in found.values.items():
        set_key(values, f"{stage}.trainer.{key}={json.dumps(value)}")
    text = yaml.safe_dump(values, sort_keys=False)
    path.write_text(f"# Found by `vitrine tune`: {found}.\n{text}", encoding="utf-8")
