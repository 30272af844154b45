"""Transformed timelines of an event log, for trainings without the rest of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline.config import PipelineConfig

if TYPE_CHECKING:
    import tensorflow_transform as tft


@dataclass(frozen=True)
class Transformed:
    """Output of Transform.

    Attributes:
        graph: Directory of the transform graph.
        examples: Directory of the splits.
    """

    graph: Path
    examples: Path

    def files(self, split: str) -> list[str]:
        """Returns the files of a split, sorted."""
        return sorted(str(path) for path in (self.examples / f"Split-{split}").iterdir())

    def output(self) -> tft.TFTransformOutput:
        """Returns the graph and the vocabularies."""
        import tensorflow_transform as tft

        return tft.TFTransformOutput(str(self.graph))


def transformed_log(config: PipelineConfig) -> Transformed:
    """Runs the pipeline as far as Transform, below `run_dir`; a second time from its cache.

    All splits are transformed: benchmarks measure models on `test` before any export.
    """
    from tfx import v1 as tfx

    from tfx_pipeline.runners.local import with_workers_here
    from tfx_pipeline.stages.data import data
    from tfx_pipeline.stages.representation import representation
    from tfx_pipeline.stages.state import read_state

    root = Path(config.run_dir)
    root.mkdir(parents=True, exist_ok=True)
    database = tfx.orchestration.metadata.sqlite_metadata_connection_config(
        str(root / "metadata.sqlite")
    )
    state = read_state(config)
    made = data(config, state, config.timeline.splits, representation(config, state))
    part = tfx.dsl.Pipeline(
        config.name,
        str(root / "artifacts"),
        components=list(made.components),
        enable_cache=True,
        metadata_connection_config=database,
        # Beam's options are in the keys of TFX's cache, so they have to be a run's.
        beam_pipeline_args=list(with_workers_here(config).beam_pipeline_args),
    )
    tfx.orchestration.LocalDagRunner().run(part)
    return last_transformed(root)


def last_transformed(run_dir: Path) -> Transformed:
    """Returns what Transform wrote last below a `run_dir`, whatever code and log are now.

    Raises:
        FileNotFoundError: No run there has come as far as Transform.
    """
    root = run_dir / "artifacts" / "transform"
    if not (root / "transformed_examples").is_dir():
        raise FileNotFoundError(
            f"No run below `{run_dir}` has come as far as Transform: there is nothing to reuse."
        )
    return Transformed(_newest(root / "transform_graph"), _newest(root / "transformed_examples"))


def _newest(folder: Path) -> Path:
    return max(
        (path for path in folder.iterdir() if path.is_dir()), key=lambda path: int(path.name)
    )
