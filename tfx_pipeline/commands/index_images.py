"""Declared fields of new rows, made of their images as the run of the index made them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np

from serving.index.embedding.columns import vectors_column
from serving.publishing.origin import read_origin
from tfx_pipeline.commands.index_place import Place
from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.convert import converted
from tfx_pipeline.datasets.images import image_faults
from tfx_pipeline.datasets.schemas import FEATURES
from tfx_pipeline.image_features.config import RepresentationConfig
from tfx_pipeline.image_features.encoder import encoder_state
from tfx_pipeline.image_features.loaded import LoadedEncoder
from tfx_pipeline.runners.mirror import DATABASE
from tfx_pipeline.runners.recorded import RecordedArtifact
from tfx_pipeline.runners.recorded import read_runs
from tfx_pipeline.stages.table import FEATURE_BUILDER
from tfx_pipeline.stages.table import REPRESENTATION
from tfx_pipeline.stages.table import STAGES
from transforms.arrow import pa
from transforms.arrow import pc

_IMAGE = "image"
_NAMED = 5  # of the images that cannot be embedded

Find = Callable[[], tuple[LoadedEncoder, str]]


class ImageFields:
    """Fills vector and cluster of rows that have an image and bring no vector of their own.

    The encoder is found once a row needs it, so that rows without images need none.
    """

    def __init__(self, field: str, cluster: str, find: Find, keep: bool) -> None:
        """Takes what is filled.

        Args:
            field: The declared field of the vectors.
            cluster: That of the clusters.
            find: Loads the encoder, and says how it compares with that of the run.
            keep: Whether rows keep their images, because the towers read them, too.
        """
        self._vector, self._token = f"vector/{field}", f"token/{cluster}"
        self._find, self._keep = find, keep
        self._embedded = 0
        self._unreadable: list[str] = []

    def fill(self, batch: Batch) -> Batch:
        """Returns rows of the catalogue with the columns of both fields.

        An image that is broken or too large is left out, as a run leaves it out: its row goes
        without, unless the towers read images.

        Raises:
            ValueError: There is no encoder, or it is not that of the index.
        """
        columns = dict(zip(batch.rows.schema.names, batch.rows.columns, strict=True))
        columns |= self._made(batch)
        if not self._keep:
            columns.pop(_IMAGE, None)
        return Batch(batch.table, pa.RecordBatch.from_arrays([*columns.values()], [*columns]))

    def lines(self) -> list[str]:
        """Says how many images were embedded, and which could not be."""
        said = []
        if self._embedded:
            encoder, compared = self._encoder
            told = f"{self._embedded:,} embedded by the encoder {encoder.fingerprint} ({compared})"
            said.append(told)
        if self._unreadable:
            named, others = self._unreadable[:_NAMED], self._unreadable[_NAMED:]
            listed = ", ".join(named) + (f" and {len(others):,} more" if others else "")
            count = f"{len(self._unreadable):,} broken or too large"
            said.append(f"{count}, not embedded: {listed}")
        return [f"images  {', '.join(said)}"] if said else []

    @cached_property
    def _encoder(self) -> tuple[LoadedEncoder, str]:
        return self._find()

    def _made(self, batch: Batch) -> dict[str, pa.Array]:
        """Returns the columns that are filled; none where no row has an image to embed."""
        images = batch.given(_IMAGE)
        if images is None:
            return {}
        own = [_own(batch, self._vector, "vector"), _own(batch, self._token, "tokens")]
        rows = np.flatnonzero(np.asarray(images.is_valid()) & np.asarray(own[0].is_null()))
        sound = image_faults(images.take(pa.array(rows))) == ""
        if not sound.all():
            names = batch.names().take(pa.array(rows[~sound])).to_pylist()
            self._unreadable += [name.decode(errors="replace") for name in names]
        rows = rows[sound]
        if not len(rows):
            return {}
        encoder, _ = self._encoder
        vectors, tokens = encoder.features(images.take(pa.array(rows)))
        self._embedded += len(rows)
        where = np.full(len(batch), -1)
        where[rows] = np.arange(len(rows))
        spread = pa.array(where, mask=where < 0)
        made = [converted(vectors_column(vectors), FEATURES.field("vector")), tokens]
        filled = [pc.coalesce(a, b.take(spread)) for a, b in zip(own, made, strict=True)]
        return dict(zip((self._vector, self._token), filled, strict=True))


def _own(batch: Batch, name: str, column: str) -> pa.Array:
    """Returns what rows bring of a declared field, [n] lists; null where they bring nothing."""
    index = batch.rows.schema.get_field_index(name)
    given = batch.rows.column(index) if index >= 0 else pa.nulls(len(batch))
    return converted(given, FEATURES.field(column))


def image_fields(place: Place, encoder: Path | None, keep: bool) -> ImageFields | None:
    """Returns what fills the fields that the run of an index made of images.

    Args:
        place: The version that is updated.
        encoder: A folder with encoder and clusters in place of that of the run's artifact.
        keep: Whether the towers read images themselves.

    Returns:
        None where the run made no such fields, or the towers read neither of the two.

    Raises:
        ValueError: An encoder is given, and nothing reads what it makes.
    """
    section = place.config.get(REPRESENTATION)
    made = RepresentationConfig.model_validate(section) if section else None
    model = place.section("trainer").get("model", {})
    read = set(model.get("candidate", {}).get("features", ()))
    if made and made.in_pipeline:
        field, cluster = made.field, made.cluster_field
        if read & {f"vector/{field}", f"token/{cluster}"}:
            dim = made.trainer.model.dim
            return ImageFields(field, cluster, lambda: _load(place, encoder, dim), keep)
    if encoder:
        raise ValueError(
            f"`--encoder` has no use: the towers of `{place.version}` read no field that their "
            "run made of images."
        )
    return None


def _load(place: Place, encoder: Path | None, dim: int) -> tuple[LoadedEncoder, str]:
    """Loads the encoder that is named, or that of the run; see `ImageFields`."""
    used = _features_of_run(place)
    if encoder is None and used is not None and used.path.is_dir():
        encoder = used.path
    if encoder is None:
        gone = f"`{used.path}` is not there" if used else "the run that pushed it is not known here"
        raise ValueError(
            f"Rows have images, and the encoder of `{place.version}` is not found: {gone}. Name "
            "its folder with `--encoder`, or `--run` in place of `--base-path`; or leave the "
            "column `image` out, and new candidates go without its features."
        )
    loaded = LoadedEncoder(encoder, dim)
    if used is None:
        return loaded, "which one the run used is not known here"
    same = used.properties["encoder"] == loaded.fingerprint
    if used.path.is_dir():  # whose clusters are told apart, too
        same = loaded.state == encoder_state(str(used.path))
    if not same:
        raise ValueError(
            f"The encoder in {encoder} ({loaded.fingerprint}) or its clusters are not those that "
            f"`{place.version}` was trained with ({used.properties['encoder']}), with which "
            "others do not agree. Name these."
        )
    return loaded, "the one that the run used"


def _features_of_run(place: Place) -> RecordedArtifact | None:
    """Returns the features that a version was trained with; None where nothing records it.

    A directory may hold several runs: what the pusher of the right one keeps has the version's
    origin.
    """
    if place.run_dir is None or place.version is None or not (place.run_dir / DATABASE).is_file():
        return None
    origin = read_origin(place.version)
    if not origin:
        return None
    pusher = STAGES["retrieval"].component_id("pusher")
    for run in reversed(read_runs(place.run_dir)):
        pushed = run.output(pusher, "pushed_model")
        if pushed is not None and read_origin(pushed) == origin:
            return run.steps[FEATURE_BUILDER].outputs["features"]
    return None
