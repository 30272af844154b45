"""Builds the index: embeds the catalogue on Beam, and hands it to ScaNN."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import apache_beam as beam
from absl import logging
from tfx import v1 as tfx
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from serving.index import files
from serving.index import processes
from serving.index.building import part_jobs
from serving.index.config import BuildConfig
from serving.index.config import IndexConfig
from serving.index.embedding import shards
from serving.index.embedding.embed import EmbedCatalogue
from serving.index.embedding.embed import embed_queries
from serving.index.embedding.embed import release_models
from serving.index.queries import save_queries
from serving.index.towers import load_towers
from tfx_pipeline.artifacts import RetrievalIndex
from tfx_pipeline.components import locations


class Executor(base_beam_executor.BaseBeamExecutor):
    """Embeds with TensorFlow on Beam, then builds with ScaNN in other processes.

    An index in parts is trained in one process and encoded on Beam, where each
    part has a process again: ScaNN does not share one with TensorFlow.
    """

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the index.

        Args:
            input_dict: `model` (the towers) and `examples` (splits `train`, `catalogue`).
            output_dict: `index`.
            exec_properties: `config`, a `BuildConfig` as JSON, and `code_version`.

        Raises:
            FileNotFoundError: The towers or a split's files are missing.
            ValueError: There are no candidates, one comes twice, or an
                embedding is not finite.
        """
        config = BuildConfig.model_validate_json(exec_properties["config"])
        towers = locations.saved_model(input_dict, "model")
        target = locations.directory(output_dict, "index")
        catalogue = locations.record_files(input_dict, "examples", "catalogue")
        count = self._embed(towers, catalogue, target, config)
        arguments = ["--index", str(target), "--config", config.to_json()]
        arguments += ["--towers", files.directory_fingerprint(towers)]
        if (parts := config.parts_for(count)) > 1:
            self._encode(target, config, parts)
            arguments.append("--encoded")
        with tempfile.TemporaryDirectory() as scratch:
            if config.tuning_queries and count >= config.tree_from:
                timelines = locations.record_files(input_dict, "examples", "train")
                queries = Path(scratch, "queries.npz")
                # Loaded when the catalogue's job has let go of them: one copy at a time.
                loaded = load_towers(towers)
                save_queries(queries, embed_queries(loaded, timelines, config.tuning_queries))
                del loaded
                arguments += ["--queries", str(queries)]
            logging.info(
                "%s", processes.run_module("serving.index.building.build", arguments).strip()
            )
        info = files.open_index(target, check_hashes=False).info
        [index] = output_dict["index"]
        index.set_int_custom_property("candidates", info["candidates"])
        index.set_string_custom_property("index_type", info["index_type"])

    def _embed(self, towers: Path, catalogue: list[str], target: Path, config: BuildConfig) -> int:
        # On the file system of the artifact, which workers elsewhere can write.
        work = target / ".shards"
        work.mkdir(parents=True)
        try:
            with self._make_beam_pipeline() as pipeline:
                _ = (
                    pipeline
                    | "CatalogueFiles" >> beam.Create(catalogue)
                    | "EmbedCatalogue" >> EmbedCatalogue(str(towers), str(work), config)
                )
            count = shards.collect(work, target, config.candidate_types)
        finally:
            release_models()
            shutil.rmtree(work, ignore_errors=True)
        logging.info("Embedded %d candidates.", count)
        return count

    def _encode(self, target: Path, config: BuildConfig, parts: int) -> None:
        part_jobs.train(target, config)
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Parts" >> beam.Create(range(parts))
                | "SpreadParts" >> beam.Reshuffle()
                | "EncodePart" >> beam.Map(part_jobs.encode, index_dir=str(target), parts=parts)
            )
        logging.info("Encoded them in %d parts.", parts)


class IndexBuilderSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the index builder."""

    INPUTS = {
        "model": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Examples),
    }
    OUTPUTS = {"index": component_spec.ChannelParameter(type=RetrievalIndex)}
    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class IndexBuilder(tfx.types.BaseBeamComponent):
    """Embeds the catalogue on Beam and builds the ScaNN index over it.

    The output `index` is a `RetrievalIndex`.

    Args:
        model: The towers, of type `Model`.
        examples: Raw timelines with the splits `train` and `catalogue`.
        config: The index's configuration, of which this component's key in
            TFX's cache sees only what it reads.
        code_version: Hash of the sources that run here.
    """

    SPEC_CLASS = IndexBuilderSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        model: tfx.types.BaseChannel,
        examples: tfx.types.BaseChannel,
        config: IndexConfig,
        code_version: str,
    ) -> None:
        index: Any = tfx.dsl.Channel(type=RetrievalIndex)
        super().__init__(
            spec=IndexBuilderSpec(
                model=model,
                examples=examples,
                index=index,
                config=config.section(BuildConfig).to_json(),
                code_version=code_version,
            )
        )
