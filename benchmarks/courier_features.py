"""Features of images that a table of `benchmarks.courier_table` compares, as declared fields."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple
from unittest import mock

import numpy as np

from benchmarks.ranking_run import exchange_histories
from models.config import RepresentationTrainerConfig
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.datasets.table_files import parquet_files
from tfx_pipeline.image_features.clusters import fit_centres
from tfx_pipeline.image_features.clusters import nearest
from tfx_pipeline.image_features.clusters import read_vectors
from tfx_pipeline.image_features.config import RepresentationConfig
from tfx_pipeline.image_features.tables_config import cluster_field
from transforms.arrow import pa
from transforms.arrow import pq

if TYPE_CHECKING:
    from models.training.data import TrainingData


class Vectors(NamedTuple):
    """Vectors of items.

    Attributes:
        keys: n rows with `entity_type` and `entity_id`.
        values: [n, d].
    """

    keys: pa.Table
    values: np.ndarray


def make_encoders(
    config: PipelineConfig,
    sections: Mapping[str, RepresentationConfig],
    starts: Mapping[str, str],
    exchanged: Collection[str],
) -> None:
    """Trains the encoders that are missing and writes features by them into the log.

    Args:
        config: How the log is read.
        sections: The encoder of each source, in the order in which they are trained.
        starts: Sources that start from the backbone of another one, which is trained before.
        exchanged: Sources that learn from pages with the histories of others.
    """
    from tfx_pipeline.image_features.make import folder_of
    from tfx_pipeline.image_features.make import learn_from
    from tfx_pipeline.image_features.make import train_encoder
    from tfx_pipeline.image_features.make import write_features

    label = config.timeline.label
    assert label is not None
    made = {source for source in sections if is_made(Path(config.log_dir), source)}
    begun = {starts[source] for source in sections.keys() - made if source in starts}
    data: TrainingData | None = None
    for source, section in sections.items():
        folder = folder_of(config, section)
        if source in made and (folder.is_dir() or source not in begun):
            continue
        if source in starts:
            weights = folder_of(config, sections[starts[source]])
            section = section.model_copy(
                update={"trainer": starting_from(section.trainer, weights)}
            )
        data = data or learn_from(config)
        print(f"{source} ...", flush=True)
        with exchanged_histories() if source in exchanged else contextlib.nullcontext():
            metrics = train_encoder(data, section, folder, label)
        print(source, {name: round(value, 4) for name, value in metrics.items()}, flush=True)
        write_features(config, section, folder)


def is_made(log_dir: Path, source: str) -> bool:
    """Returns whether the log has features of a source."""
    return (log_dir / "features" / cluster_field(source)).is_dir()


def starting_from(
    trainer: RepresentationTrainerConfig, weights: str | Path
) -> RepresentationTrainerConfig:
    """Returns how an encoder is trained whose backbone starts from that of another.

    Args:
        trainer: How it is trained.
        weights: A file of weights, or the other's folder.
    """
    backbone = trainer.model.backbone.model_copy(update={"weights": str(weights)})
    model = trainer.model.model_copy(update={"backbone": backbone})
    return trainer.model_copy(update={"model": model})


@contextlib.contextmanager
def exchanged_histories() -> Iterator[None]:
    """Lets encoders learn from pages with the histories of others; they are judged as they are."""
    from models.courier import model

    own = model.page_batches

    def exchanged(*given: Any) -> Any:
        return own(*given).map(exchange_histories)

    with mock.patch.object(model, "page_batches", exchanged):
        yield


def write_vectors(log_dir: Path, name: str, vectors: Vectors, clusters: int) -> None:
    """Writes vectors of items, and clusters of them, as declared fields where they are missing."""
    keys, values = vectors
    tokens = nearest(values, fit_centres(values, clusters))
    lists = {
        name: ("vector", pa.array(values.tolist(), pa.list_(pa.float32()))),
        cluster_field(name): ("tokens", pa.array([[f"c{one}"] for one in tokens.tolist()])),
    }
    for made, (column, rows) in lists.items():
        folder = log_dir / "features" / made
        if not folder.is_dir():
            folder.mkdir(parents=True)
            pq.write_table(keys.append_column(column, rows), folder / "part-0.parquet")


def declared(log_dir: Path, sources: Collection[str]) -> dict[str, Any]:
    """Returns the fields of those sources that the log has features of."""
    there = [name for name in sources if is_made(log_dir, name)]
    files = {name: parquet_files(log_dir, f"features.{name}")[0] for name in there}
    vectors = {name: read_vectors(path).shape[1] for name, path in files.items()}
    return {"vectors": vectors, "tokens": [cluster_field(name) for name in there]}
