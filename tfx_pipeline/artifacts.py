"""Artifact types that TFX does not have."""

from __future__ import annotations

from tfx import v1 as tfx


class RetrievalIndex(tfx.dsl.Artifact):
    """An index over a catalogue, as `serving.index.files` describes its directory.

    The type's name is its import path: Kubeflow Pipelines imports it by name.
    It declares no properties, which Kubeflow's compiler rejects; the number of
    candidates and the index type are custom properties.
    """

    TYPE_NAME = "tfx_pipeline.RetrievalIndex"


class NeighbourLists(tfx.dsl.Artifact):
    """Neighbour lists of entities, as `serving.sources.neighbours` describes their directory.

    Their counts and the hash of the table are custom properties, as those of `RetrievalIndex`.
    """

    TYPE_NAME = "tfx_pipeline.NeighbourLists"


class CatalogueFeatures(tfx.dsl.Artifact):
    """Tables of declared fields, `features/<name>/*.parquet`, and what makes them of new items.

    Of images: `encoder` and `centres.npy` (`tfx_pipeline.image_features.encoder`). Its custom
    properties are the encoder's fingerprint and how many items, numbers and clusters there are.
    """

    TYPE_NAME = "tfx_pipeline.CatalogueFeatures"


class SourceCombination(tfx.dsl.Artifact):
    """Combination of sources; `serving.sources.combination` describes its directory."""

    TYPE_NAME = "tfx_pipeline.SourceCombination"
