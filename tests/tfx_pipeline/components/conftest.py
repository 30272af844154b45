"""One run of the index components, as a runner would call them, that their tests read."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from typing import NamedTuple

import pytest

from tests.helpers.direct import ONE_WORKER

IDS = [f"movie:{i}" for i in range(1_500)]


class IndexRun(NamedTuple):
    model: Any
    examples: Any
    index: Any
    blessing: Any
    servable: Any
    config: Any


def do(executor: type, inputs: dict[str, Any], outputs: dict[str, Any], properties: Any) -> None:
    """Calls an executor with one artifact a key."""
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor

    context = None
    if issubclass(executor, BaseBeamExecutor):
        context = BaseBeamExecutor.Context(beam_pipeline_args=list(ONE_WORKER), unique_id="1")
    executor(context).Do(
        {key: [one] for key, one in inputs.items()},
        {key: [one] for key, one in outputs.items()},
        {"code_version": "1", **properties},
    )


@pytest.fixture(scope="session")
def index_run(tmp_path_factory: pytest.TempPathFactory) -> IndexRun:
    """Embeds and indexes 1,500 movies, checks the index, and assembles the servable."""
    from tfx.types import standard_artifacts

    import tfx_pipeline
    from serving.index.config import BuildConfig
    from serving.index.config import CheckConfig
    from serving.index.config import IndexConfig
    from serving.index.config import ServeConfig
    from tests.helpers.artifacts import artifact
    from tests.helpers.artifacts import raw_examples
    from tests.helpers.artifacts import towers_model
    from tests.helpers.examples import catalogue_row
    from tests.helpers.examples import timeline
    from tfx_pipeline.components import index_builder
    from tfx_pipeline.components import index_validator
    from tfx_pipeline.components import servable_builder

    folder: Path = tmp_path_factory.mktemp("index_run")
    config = IndexConfig(
        candidate_types=("movie",),
        k=20,
        exact_below=1_000,
        exclude_seen=("watch",),
        recall_at=50,
        max_latency_ms=1e9,  # a busy machine is no fault of the index
    )
    model = towers_model(folder / "model")
    rows = [catalogue_row(name, title=f"Title of {name}") for name in IDS]
    examples = raw_examples(
        folder / "examples",
        {
            "train": [timeline(f"u{i}", IDS[i : i + 3]) for i in range(300)],
            "validation": [
                timeline(f"v{i}", IDS[i : i + 2], targets=IDS[i + 2 : i + 3]) for i in range(200)
            ],
            "test": [timeline("w", IDS[:2], targets=IDS[2:3])],
            "catalogue": [*rows, catalogue_row("video:1"), catalogue_row("video:2")],
        },
    )
    index = artifact(tfx_pipeline.RetrievalIndex, folder / "index", 7)
    blessing = artifact(standard_artifacts.ModelBlessing, folder / "blessing")
    servable = artifact(standard_artifacts.Model, folder / "servable")
    do(
        index_builder.Executor,
        {"model": model, "examples": examples},
        {"index": index},
        {"config": config.section(BuildConfig).to_json()},
    )
    do(
        index_validator.Executor,
        {"index": index, "model": model, "examples": examples},
        {"blessing": blessing},
        {"config": config.section(CheckConfig).to_json()},
    )
    do(
        servable_builder.Executor,
        {"model": model, "index": index},
        {"servable": servable},
        {"config": config.section(ServeConfig).to_json()},
    )
    return IndexRun(model, examples, index, blessing, servable, config)
