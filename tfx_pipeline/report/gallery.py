"""A gallery of images: which ones vectors hold to be alike, for a person to judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.schemas import features_table
from tfx_pipeline.datasets.table_files import folder_of
from tfx_pipeline.datasets.table_files import parquet_files
from tfx_pipeline.datasets.table_files import place_of
from tfx_pipeline.datasets.user_history import read_images
from tfx_pipeline.datasets.user_history import read_titles
from tfx_pipeline.report.rendering import render
from tfx_pipeline.report.samples import thumbnails
from transforms.arrow import pa
from transforms.arrow import read_table

_TRIED = 4  # images that are read to find one that decodes


@dataclass(frozen=True)
class Picture:
    """A thing of the catalogue.

    Attributes:
        entity: `type:id`.
        note: Why it stands where it does.
    """

    entity: str
    note: str = ""


@dataclass(frozen=True)
class FieldView:
    """What a declared field holds to be alike.

    Attributes:
        name: Of the field.
        neighbours: For each image that is asked about, the nearest others.
        clusters: The members nearest the centre of each of the largest clusters.
        sizes: Of these.
    """

    name: str
    neighbours: tuple[tuple[Picture, ...], ...]
    clusters: tuple[tuple[Picture, ...], ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class GalleryConfig:
    """How much a gallery shows.

    Attributes:
        queries: Images whose neighbours are looked for, drawn at random.
        neighbours: Of each of them.
        clusters: The largest ones of each field.
        members: Of each of them.
        seed: Of the draw.
    """

    queries: int = 12
    neighbours: int = 6
    clusters: int = 6
    members: int = 8
    seed: int = 0


def render_gallery(
    log_dir: Path, fields: Sequence[str], config: GalleryConfig, features_dir: Path | None = None
) -> str:
    """Returns a page with the neighbours and the largest clusters of fields, side by side.

    Args:
        log_dir: An event log with `features/<field>`, and `features/<field>_cluster` where
            there are clusters.
        fields: Names of declared fields that hold vectors.
        config: How much is shown.
        features_dir: Another folder with `features/<field>`, as a run makes it. What it has of
            the fields is read in place of the log's.

    Raises:
        ValueError: A field is not there, the fields have no thing in common, or none has an image.
    """

    def place(field: str) -> Path:
        return place_of(features_table(field), log_dir, features_dir)

    tables = [_read(place(field), field, "vector") for field in fields]
    columns = [dict(zip(*table, strict=True)) for table in tables]
    shared = sorted(set.intersection(*map(set, columns)))
    queries = _with_images(log_dir, shared, config)
    if not queries:
        raise ValueError(
            f"No thing of {log_dir} has both an image and a vector in each of {list(fields)}."
        )
    views = []
    for name, column in zip(fields, columns, strict=True):
        vectors = _unit(np.array([column[entity] for entity in shared], np.float32))
        clusters = _clusters(place(f"{name}_cluster"), name, shared, vectors, config)
        views.append(FieldView(name, _neighbours(shared, vectors, queries, config), *clusters))
    wanted = {picture.entity for view in views for row in view.neighbours for picture in row}
    wanted |= {picture.entity for view in views for row in view.clusters for picture in row}
    wanted |= set(queries)
    return render(
        "gallery.html",
        title=log_dir.name,
        views=views,
        queries=queries,
        things=len(shared),
        images=thumbnails(read_images(log_dir, wanted)),
        titles=read_titles(log_dir, wanted),
    )


def nearest_others(vectors: np.ndarray, row: int, number: int) -> list[tuple[int, float]]:
    """Returns the rows of [n, d] unit vectors nearest one of them, and their cosines with it."""
    cosines = vectors @ vectors[row]
    cosines[row] = -np.inf
    order = np.argsort(-cosines, kind="stable")[: min(number, len(vectors) - 1)]
    return [(int(other), float(cosines[other])) for other in order]


def _neighbours(
    names: list[str], vectors: np.ndarray, queries: list[str], config: GalleryConfig
) -> tuple[tuple[Picture, ...], ...]:
    place = {name: row for row, name in enumerate(names)}
    found = (nearest_others(vectors, place[query], config.neighbours) for query in queries)
    return tuple(
        tuple(Picture(names[row], f"{cosine:.2f}") for row, cosine in one) for one in found
    )


def _clusters(
    log_dir: Path, field: str, names: list[str], vectors: np.ndarray, config: GalleryConfig
) -> tuple[tuple[tuple[Picture, ...], ...], tuple[int, ...]]:
    """Returns the members nearest the centre of each of a field's largest clusters, and its size.

    Both are empty where the field has no clusters.
    """
    if not parquet_files(log_dir, features_table(f"{field}_cluster")):
        return (), ()
    pairs = zip(*_read(log_dir, f"{field}_cluster", "tokens"), strict=True)
    cluster = {name: tokens[0] for name, tokens in pairs if tokens}
    given = np.array([cluster.get(name, "") for name in names], object)
    largest = Counter(one for one in given if one).most_common(config.clusters)
    shown = []
    for token, _ in largest:
        rows = np.flatnonzero(given == token)
        centre = _unit(vectors[rows].mean(axis=0, keepdims=True))[0]
        nearest = rows[np.argsort(-(vectors[rows] @ centre), kind="stable")]
        shown.append(tuple(Picture(names[row]) for row in nearest[: config.members]))
    return tuple(shown), tuple(size for _, size in largest)


def _with_images(log_dir: Path, names: list[str], config: GalleryConfig) -> list[str]:
    """Draws things with images that decode."""
    order = np.random.default_rng(config.seed).permutation(len(names))
    drawn = [names[row] for row in order[: _TRIED * config.queries]]
    sound = thumbnails(read_images(log_dir, drawn))
    return [name for name in drawn if name in sound][: config.queries]


def _read(log_dir: Path, field: str, column: str) -> tuple[list[str], list[list[float]]]:
    """Reads entities `type:id` and a column of a declared field's table.

    Raises:
        ValueError: There is no such table.
    """
    files = parquet_files(log_dir, features_table(field))
    if not files:
        raise ValueError(
            f"There is no {log_dir}/{folder_of(features_table(field))}/*.parquet: "
            "`vitrine image-features` makes it, or any table of a declared field."
        )
    wanted = ["entity_type", "entity_id", column]
    rows = pa.concat_tables([read_table(path, columns=wanted) for path in files])
    keys = zip(rows["entity_type"].to_pylist(), rows["entity_id"].to_pylist(), strict=True)
    return [f"{kind}:{one}" for kind, one in keys], rows[column].to_pylist()


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
