"""Readers of what Transform counted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from transforms.arrow import pa
from transforms.arrow import pc
from transforms.names import ENTITY
from transforms.names import ENTITY_COUNTS
from transforms.names import NOTHING

if TYPE_CHECKING:
    import tensorflow_transform as tft


def entity_vocabulary(tft_output: tft.TFTransformOutput) -> list[bytes]:
    """Reads the entities that have an index, by descending number of training events.

    Args:
        tft_output: What Transform wrote.

    Returns:
        Entities as `type:id` in UTF-8; the one at position i has index i + 1 in
        every transformed feature.

    Raises:
        ValueError: There is no such vocabulary, or it is empty.
    """
    entities = _lines(tft_output, ENTITY)
    if not entities:
        raise ValueError(
            "Expected at least one entity in the training events or in the catalogue, received "
            "none. Look at the example generator's report for rows that it turned away."
        )
    return entities


def target_counts(tft_output: tft.TFTransformOutput) -> np.ndarray:
    """Reads how often each entity is a training target.

    Args:
        tft_output: What Transform wrote.

    Returns:
        [V + 1] int64, aligned with the entities' indices. Entry 0 counts
        targets whose entity is beyond the vocabulary's bound.

    Raises:
        ValueError: There is no such vocabulary, or it is empty.
    """
    entities = pa.array(entity_vocabulary(tft_output), pa.large_binary())
    pairs = [line.split(b" ", 1) for line in _lines(tft_output, ENTITY_COUNTS)]
    names = pa.array([entity for _, entity in pairs], pa.large_binary())
    index = pc.index_in(names, value_set=entities).fill_null(-1).to_numpy(zero_copy_only=False)
    counts = np.zeros(len(entities) + 1, np.int64)
    np.add.at(counts, index.astype(np.int64) + 1, [int(count) for count, _ in pairs])
    return counts


def index_sizes(tft_output: tft.TFTransformOutput) -> dict[str, int]:
    """Returns how many indices each categorical feature has.

    Args:
        tft_output: What Transform wrote.

    Returns:
        For each transformed feature that holds indices their number, with index
        0 and hash buckets: the rows that an embedding table needs.
    """
    return {
        name: tft_output.num_buckets_for_transformed_feature(name)
        for name in tft_output.transformed_domains()
    }


def read_vocabulary(path: str | Path) -> list[bytes]:
    """Reads a vocabulary's file: the token at position i has index i + 1."""
    with tf.io.gfile.GFile(str(path), "rb") as file:
        lines = file.read().split(b"\n")[:-1]
    return [] if lines in ([NOTHING], [b"0 " + NOTHING]) else lines


def _lines(tft_output: tft.TFTransformOutput, name: str) -> list[bytes]:
    path = tft_output.vocabulary_file_by_name(name)
    if not path:
        raise ValueError(
            f"Expected the vocabulary `{name}` in {tft_output.transform_savedmodel_dir}, found no "
            "such file. Run Transform with `transforms.preprocessing.preprocessing_fn`."
        )
    return read_vocabulary(path)
