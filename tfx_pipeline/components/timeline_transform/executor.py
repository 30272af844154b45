"""Executor of Transform: TFX's analysis, then a second Beam job that applies the graph."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from tfx.components.transform import executor as tfx_executor
from tfx.components.transform import executor_utils
from tfx.dsl.io import fileio
from tfx.types import Artifact
from tfx.types import artifact_utils
from tfx.types import standard_component_specs as keys

from tfx_pipeline.components.record_batches import bound_batches
from tfx_pipeline.components.timeline_transform.transform_file import Job
from tfx_pipeline.components.timeline_transform.transform_file import TransformFile
from tfx_pipeline.examples import tfrecord


class Executor(tfx_executor.Executor):
    """Makes the graph with TFX's executor, and the transformed examples with `TransformFile`.

    TFX's way takes every record by itself through Python when it is read, batched,
    framed and written; `TransformFile` does all of this a batch at a time.
    """

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the transform graph and the transformed splits.

        Args:
            input_dict: As of TFX's Transform; the examples are gzipped TFRecord files.
            output_dict: Likewise; without `transformed_examples` only the graph is made.
            exec_properties: Likewise.

        Raises:
            TypeError: An output of `preprocessing_fn` is not ragged.
        """
        bound_batches()
        examples = input_dict[keys.EXAMPLES_KEY]
        executor_utils.MatchNumberOfTransformedExamplesArtifacts(input_dict, output_dict)
        graph_alone = dict(output_dict)
        transformed = graph_alone.pop(keys.TRANSFORMED_EXAMPLES_KEY, [])
        super().Do(input_dict, graph_alone, exec_properties)
        if not transformed:
            return
        config = executor_utils.ResolveSplitsConfig(
            exec_properties.get(keys.SPLITS_CONFIG_KEY), examples
        )
        executor_utils.SetSplitNames(config.transform, transformed)
        graph = artifact_utils.get_single_uri(output_dict[keys.TRANSFORM_GRAPH_KEY])
        pairs = list(zip(examples, transformed, strict=True))
        with self._make_beam_pipeline() as pipeline:
            (
                pipeline
                | "Files" >> beam.Create(list(_jobs(pairs, config.transform)))
                | "Spread" >> beam.Reshuffle()
                | "TransformFile" >> beam.ParDo(TransformFile(graph))
            )
        for _, written in pairs:
            staging = os.path.join(written.uri, tfrecord.STAGING)
            if fileio.exists(staging):
                fileio.rmtree(staging)


def _jobs(pairs: list[tuple[Artifact, Artifact]], splits: list[str]) -> Iterator[Job]:
    """Yields every file of the splits, and where it is written."""
    for raw, transformed in pairs:
        for split in splits:
            (folder,) = artifact_utils.get_split_uris([raw], split)
            (written,) = artifact_utils.get_split_uris([transformed], split)
            fileio.makedirs(written)
            for name in sorted(fileio.listdir(folder)):
                place = os.path.relpath(os.path.join(written, name), transformed.uri)
                yield os.path.join(folder, name), transformed.uri, place
