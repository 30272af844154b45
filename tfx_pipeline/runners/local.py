"""Runs the pipeline on this machine with TFX's `LocalDagRunner`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from absl import logging
from tfx import v1 as tfx

from models.training.memory import release_memory
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.runners.console import Console
from tfx_pipeline.runners.interrupts import noted_interrupts
from tfx_pipeline.runners.mirror import ARTIFACTS
from tfx_pipeline.runners.mirror import DATABASE
from tfx_pipeline.runners.mirror import LOG
from tfx_pipeline.runners.mirror import mirrored
from tfx_pipeline.runners.recorded import read_runs
from tfx_pipeline.stages.state import read_state
from transforms.stack import direct_in_python
from transforms.storage import place


@dataclass(frozen=True)
class RunOutputs:
    """Artifacts and times of a finished run.

    Attributes:
        artifacts: Node id -> output key -> URI of the artifact.
        seconds: Wall time of the components.
        cached: Node ids that TFX answered from an earlier run.
    """

    artifacts: dict[str, dict[str, str]]
    seconds: float
    cached: tuple[str, ...]

    def uri(self, node: str, key: str) -> Path:
        """Returns where the output `key` of a node is."""
        return Path(self.artifacts[node][key])


def run_locally(config: PipelineConfig) -> RunOutputs:
    """Runs every component in order; finished ones are answered from TFX's cache.

    A run that was killed continues where it stopped: what had finished is in
    the metadata database below `run_dir`, and what had not runs again. One whose
    `run_dir` is in an object store works in a folder here; see `mirror`.

    Args:
        config: What to run.

    Returns:
        The artifacts of this run.

    Raises:
        RuntimeError: A component failed; the message names it and the log file.
        StoreError: The object store of `run_dir` refuses, or does not answer.
        KeyboardInterrupt: Somebody stopped it; the message says how to go on.
    """
    with mirrored(config.run_dir) as (run_dir, keep):
        return _run_in(run_dir, config, keep)


def _run_in(run_dir: Path, config: PipelineConfig, keep: Callable[[], None]) -> RunOutputs:
    """Runs in a folder; `keep` is called after each component."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for stage in config.stages:
        place(config.push_dir_of(stage)).mkdir(parents=True, exist_ok=True)
    database = str(run_dir / DATABASE)
    pipeline = create_pipeline(
        with_workers_here(config),
        read_state(config),
        pipeline_root=str(run_dir / ARTIFACTS),
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            database
        ),
    )
    started = time.time()

    def finish_component() -> None:
        keep()
        release_memory()  # all components share this process
        interrupts.check()

    components = [component.id for component in pipeline.components]
    with (
        noted_interrupts() as interrupts,
        Console(run_dir / LOG, components, finish_component) as console,
    ):
        try:
            tfx.orchestration.LocalDagRunner().run(pipeline)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_interrupted(console, config.run_dir)) from None
        except Exception as error:
            logging.exception("The run failed in %s", console.running)
            if interrupts.noted:  # a library made an error of its own of it
                raise KeyboardInterrupt(_interrupted(console, config.run_dir)) from None
            raise RuntimeError(
                f"The component `{console.running}` failed: {_root_message(error)}\n"
                f"The whole log is in {run_dir / LOG}. What had finished is kept: "
                "mend the cause and run the same command again."
            ) from error
    return RunOutputs(
        artifacts=read_runs(run_dir)[-1].artifacts,
        seconds=time.time() - started,
        cached=tuple(console.cached),
    )


def _interrupted(console: Console, run_dir: str) -> str:
    """Says what a run that was stopped by hand leaves behind."""
    done = ", ".join(console.done) or "nothing yet"
    where = "after" if console.running in console.done else "in"
    return (
        f"Stopped {where} the component `{console.running or 'none'}`. Kept in {run_dir}: {done}.\n"
        "The same command goes on from there: what is kept comes from the cache, and a "
        "component that was stopped runs again."
    )


def with_workers_here(config: PipelineConfig) -> PipelineConfig:
    """Says that workers have every package, where Beam's options do not send them any.

    That is so of the Direct runner's, which are processes of this machine, and of an environment
    that is named (`--environment_config`: an image, or workers that run already). TFX
    would pack an sdist of itself for every Beam step whose options name neither packages nor an
    image, for each worker to install; of the image nothing more is read in these places.
    """
    options = direct_in_python(config.beam_pipeline_args)

    def has(*names: str) -> bool:
        return any(option.startswith(names) for option in options)

    packed = has("--runner") and (has("--sdk_container_image") or not has("--environment_config"))
    more = () if packed else ("--sdk_container_image=none",)
    return config.model_copy(update={"beam_pipeline_args": (*options, *more)})


def _root_message(error: BaseException) -> str:
    """Returns the message of the first cause, without the layers that wrapped it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
