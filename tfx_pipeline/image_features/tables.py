"""Tables of image features: every image of a log's catalogue embedded, and its cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np

from tfx_pipeline.image_features.clusters import fit_centres
from tfx_pipeline.image_features.clusters import read_vectors
from tfx_pipeline.image_features.clusters import write_tokens
from tfx_pipeline.image_features.embed import embed_images
from tfx_pipeline.image_features.encoder import CENTRES
from tfx_pipeline.image_features.encoder import ENCODER
from tfx_pipeline.image_features.encoder import fingerprint_of
from tfx_pipeline.image_features.encoder import require_dim
from tfx_pipeline.image_features.tables_config import TablesConfig


@dataclass(frozen=True)
class Tables:
    """What was made of a catalogue's images.

    Attributes:
        fingerprint: Of the encoder, which is in the metadata of every file, too.
        images: How many have features.
        dim: Length of a vector.
        clusters: How many there are.
    """

    fingerprint: str
    images: int
    dim: int
    clusters: int


def make_tables(
    log_dir: str,
    folder: Path,
    target: Path,
    config: TablesConfig,
    make_pipeline: Callable[[], beam.Pipeline],
) -> Tables:
    """Embeds the images of a log's catalogue and clusters them.

    Args:
        log_dir: Directory of the event log.
        folder: Holds the encoder, and the centres of clusters, which are fitted and kept there
            where there are none yet.
        target: Directory in which `<field>/*.parquet` and `<field>_cluster/*.parquet` appear.
        config: The fields and the clusters.
        make_pipeline: Makes an empty pipeline on the runner of choice.

    Raises:
        ValueError: The encoder does not fit, or there are no images.
    """
    require_dim(folder, config.dim)
    fingerprint, vectors = fingerprint_of(folder), target / config.field
    types = config.candidate_types
    images = embed_images(log_dir, folder / ENCODER, fingerprint, vectors, types, make_pipeline)
    files = sorted(vectors.glob("*.parquet"))
    if not (folder / CENTRES).is_file():
        every = np.concatenate([read_vectors(path) for path in files])
        np.save(folder / CENTRES, fit_centres(every, config.clusters, config.seed))
    centres = np.load(folder / CENTRES, allow_pickle=False)
    write_tokens(files, target / config.cluster_field, centres)
    return Tables(fingerprint, images, centres.shape[1], len(centres))
