"""The Beam job that embeds the images of an event log's catalogue."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import RunInference

from serving.index.embedding.columns import vectors_column
from serving.index.embedding.embed import SavedModelHandler
from serving.index.embedding.embed import release_models
from serving.index.embedding.shards import from_ipc
from serving.index.embedding.shards import to_ipc
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.images import image_faults
from transforms.arrow import pa
from transforms.arrow import parquet_file
from transforms.arrow import pc
from transforms.arrow import pq
from transforms.storage import place

BATCH = 512  # images that are embedded at a time
VECTOR = "vector"
_KEY = ("entity_type", "entity_id")
_IMAGE = "image"

Piece = tuple[str, bytes]  # a name, and a table as an Arrow IPC stream


class ImageHandler(SavedModelHandler):
    """Replaces the images of tables by their vectors.

    Args:
        model_dir: SavedModel whose `serving_default` takes `image` [n] string and gives
            `vector` [n, d] float32.
    """

    def run_inference(
        self, batch: Piece, model: Any, inference_args: Mapping[str, Any] | None = None
    ) -> Iterable[Piece]:
        """Embeds one table.

        Raises:
            ValueError: A vector is not finite.
        """
        name, content = batch
        table = from_ipc(content)
        vectors = embed_batch(model, table[_IMAGE])
        table = table.drop([_IMAGE]).append_column(VECTOR, vectors_column(vectors))
        return [(name, to_ipc(table))]


def embed_batch(model: Any, images: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Embeds some images, `BATCH` at most: [n] binary, all sound -> [n, d] float32.

    Args:
        model: The encoder's SavedModel, loaded.
        images: Encoded images.

    Raises:
        ValueError: A vector is not finite.
    """
    import tensorflow as tf

    given = tf.constant(np.asarray(images), tf.string)
    vectors: np.ndarray = model.signatures["serving_default"](image=given)[VECTOR].numpy()
    if not np.isfinite(vectors).all():
        raise ValueError("The encoder gives vectors that are not finite: look at its training.")
    return vectors


def embed_images(
    log_dir: str | Path,
    encoder_dir: str | Path,
    fingerprint: str,
    target: Path,
    types: Sequence[str],
    make_pipeline: Callable[[], beam.Pipeline],
) -> int:
    """Embeds the images of a catalogue; those that are broken or too large are left out.

    Args:
        log_dir: Directory of the event log.
        encoder_dir: The encoder's SavedModel.
        fingerprint: The encoder's, which is in the metadata of every file as `encoder`.
        target: Directory in which `part-*.parquet` appear, with `entity_type`, `entity_id` and
            `vector`.
        types: Entity types whose images are embedded; `*` is all.
        make_pipeline: Makes an empty pipeline on the runner of choice.

    Returns:
        How many images were embedded.

    Raises:
        ValueError: There is none.
    """
    groups = list(_row_groups(EventLog(log_dir)))
    target.mkdir(parents=True)
    chosen, folder = tuple(types), str(target)
    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "RowGroups" >> beam.Create(groups, reshuffle=True)
            | "Read"
            >> beam.FlatMapTuple(lambda number, path, group: _read(number, path, group, chosen))
            | "Spread" >> beam.Reshuffle()
            | "Embed" >> RunInference(ImageHandler(str(encoder_dir)))
            | "Write" >> beam.MapTuple(lambda name, rows: _write(name, rows, fingerprint, folder))
        )
    release_models()
    number = sum(pq.read_metadata(path).num_rows for path in sorted(target.glob("*.parquet")))
    if not number:
        raise ValueError(
            f"Expected images of entities of the types {list(types)} in the catalogue of "
            f"{log_dir}, found none that can be read. Fill its column `image`."
        )
    return number


def _row_groups(log: EventLog) -> Iterator[tuple[int, str, int]]:
    """Yields number, file and index of each row group of the catalogue."""
    number = 0
    for path in log.files(CATALOGUE_TABLE):
        with parquet_file(path) as file:
            present = _IMAGE in file.schema_arrow.names
            groups = file.num_row_groups if present else 0
        for group in range(groups):
            yield number, str(path), group
            number += 1


def _read(number: int, path: str, group: int, types: Sequence[str]) -> Iterator[Piece]:
    """Yields the rows of a row group that have a sound image, some at a time."""
    with parquet_file(place(path)) as file:
        table = file.read_row_group(group, columns=[*_KEY, _IMAGE])
    kept = pc.is_valid(table[_IMAGE])
    if "*" not in types:
        kept = pc.and_(kept, pc.is_in(table[_KEY[0]], pa.array(list(types))))
    table = table.filter(kept)
    sound = image_faults(table[_IMAGE].combine_chunks()) == ""
    table = table.filter(pa.array(sound, pa.bool_()))
    for start in range(0, table.num_rows, BATCH):
        yield f"part-{number:05d}-{start:05d}.parquet", to_ipc(table.slice(start, BATCH))


def _write(name: str, content: bytes, fingerprint: str, target: str) -> None:
    """Writes a table, under another name first: Beam may try a step again."""
    aside = Path(target, f".{name}.{id(content)}")
    pq.write_table(from_ipc(content).replace_schema_metadata({"encoder": fingerprint}), aside)
    aside.rename(Path(target, name))
