"""The retrieval stage: towers, an index over the catalogue, and both as one servable."""

from __future__ import annotations

from typing import Any

from serving.sources.config import ScoringConfig
from tfx_pipeline.code_version import code_version
from tfx_pipeline.components.index_builder import IndexBuilder
from tfx_pipeline.components.index_validator import IndexValidator
from tfx_pipeline.components.neighbour_builder import NeighbourBuilder
from tfx_pipeline.components.neighbour_validator import NeighbourValidator
from tfx_pipeline.components.servable_builder import ServableBuilder
from tfx_pipeline.components.source_combiner import SourceCombiner
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.stages.config import RetrievalConfig
from tfx_pipeline.stages.data import Data
from tfx_pipeline.stages.release import release
from tfx_pipeline.stages.state import RunState
from tfx_pipeline.stages.training import training

_COMPONENTS = "tfx_pipeline.components"


def retrieval(
    section: RetrievalConfig, config: PipelineConfig, state: RunState, made: Data
) -> tuple[Any, ...]:
    """Makes the components of the retrieval stage.

    Args:
        section: The stage's section of the configuration.
        config: What to run.
        state: What is served.
        made: The data stage.
    """
    examples = made.example_gen.outputs["examples"]
    builders = (f"{_COMPONENTS}.index_builder", f"{_COMPONENTS}.servable_builder")
    made_of = [section.index.to_json(), *map(code_version, builders)]
    if section.sources.enabled:
        combiners = (f"{_COMPONENTS}.neighbour_builder", f"{_COMPONENTS}.source_combiner")
        made_of += [section.sources.to_json(), *map(code_version, combiners)]

    # The towers: what embeds a query and what embeds a candidate.
    trained = training("retrieval", section, config, state, made, *made_of)
    towers = trained.trainer.outputs["model"]

    # What counting gives: said beside what the model gives.
    neighbour_builder = NeighbourBuilder(
        examples=examples,
        config=section.sources.neighbours,
        code_version=code_version(f"{_COMPONENTS}.neighbour_builder"),
    ).with_id("neighbour-builder")

    neighbours = neighbour_builder.outputs["neighbours"]

    index_builder, index_validator = _index(section, examples, towers)
    index = index_builder.outputs["index"]

    # More sources than the tower, whether the lists are right, and in what order candidates go.
    joined: dict[str, Any] = {}
    of_sources: tuple[Any, ...] = ()
    neighbours_blessing = None
    if section.sources.enabled:
        validator = _neighbour_validator(section, examples, neighbours)
        neighbours_blessing = validator.outputs["blessing"]
        combiner = _combiner(section, examples, towers, index, neighbours)
        joined = {"neighbours": neighbours, "combination": combiner.outputs["combination"]}
        of_sources = (validator, combiner)

    # Towers and index in one directory: they can never disagree.
    servable_builder = ServableBuilder(
        model=towers,
        index=index,
        config=section.index,
        code_version=code_version(f"{_COMPONENTS}.servable_builder"),
        **joined,
    ).with_id("servable-builder")

    released = release(
        trained,
        servable_builder.outputs["servable"],
        section,
        config,
        made,
        index_validator.outputs["blessing"],
        neighbours,
        section.sources.neighbours.section(ScoringConfig),
        neighbours_blessing,
    )
    return (
        *trained.components,
        neighbour_builder,
        index_builder,
        index_validator,
        *of_sources,
        servable_builder,
        *released,
    )


def _index(section: RetrievalConfig, examples: Any, towers: Any) -> tuple[Any, Any]:
    """Makes the index of the catalogue, and what checks it."""
    builder = IndexBuilder(
        model=towers,
        examples=examples,
        config=section.index,
        code_version=code_version(f"{_COMPONENTS}.index_builder"),
    ).with_id("index-builder")
    validator = IndexValidator(
        index=builder.outputs["index"],
        model=towers,
        examples=examples,
        config=section.index,
        code_version=code_version(f"{_COMPONENTS}.index_validator"),
    ).with_id("index-validator")
    return builder, validator


def _neighbour_validator(section: RetrievalConfig, examples: Any, neighbours: Any) -> Any:
    """Makes what checks the lists of a servable that holds them."""
    return NeighbourValidator(
        neighbours=neighbours,
        examples=examples,
        config=section.sources.neighbours,
        code_version=code_version(f"{_COMPONENTS}.neighbour_validator"),
    ).with_id("neighbour-validator")


def _combiner(
    section: RetrievalConfig, examples: Any, towers: Any, index: Any, neighbours: Any
) -> Any:
    """Makes what chooses in which order the candidates of all sources go."""
    return SourceCombiner(
        model=towers,
        index=index,
        neighbours=neighbours,
        examples=examples,
        config=section.sources,
        serve=section.index,
        monitor=section.trainer.validation.monitor,
        code_version=code_version(f"{_COMPONENTS}.source_combiner"),
    ).with_id("source-combiner")
