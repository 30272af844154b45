"""Embeddings on Beam: of the catalogue for an index, and of tables of examples for anyone.

Catalogue rows are read in batches, embedded by the towers through Beam's
RunInference, split by a hash of the id into shards, sorted by id within a
shard, and written. `collect` joins the shards in order. No step holds more
than one shard, and neither workers nor files change the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler
from apache_beam.ml.inference.base import RunInference
from apache_beam.utils.shared import Shared

from serving.index.config import EVERY
from serving.index.config import BuildConfig
from serving.index.embedding.records import read_batches
from serving.index.embedding.shards import from_ipc
from serving.index.embedding.shards import to_ipc
from serving.index.embedding.shards import write_shard
from serving.index.queries import Queries
from transforms import features
from transforms.arrow import pa

Batch = Sequence[bytes]
_ROWS = "rows"
_SKIPPED = "skipped"


class EmbedCatalogue(beam.PTransform):
    """Embeds candidates from the record files of the catalogue: [file name] -> [shard name].

    Args:
        towers_dir: SavedModel with the signature `embed_candidate`.
        target: Directory of the shards; `serving.index.embedding.shards.collect` reads it.
        config: Which types are candidates, sizes.
    """

    def __init__(self, towers_dir: str, target: str, config: BuildConfig) -> None:
        super().__init__()
        self._handler = CandidateHandler(towers_dir, config.candidate_types, config.shards)
        self._target = target
        self._config = config

    def expand(self, files: beam.PCollection) -> beam.PCollection:
        """Builds the steps."""
        size, shards, target = self._config.embed_batch, self._config.shards, self._target
        return (
            files
            | "Read" >> beam.FlatMap(lambda file: (list(b) for b in read_batches([file], size)))
            | "Spread" >> beam.Reshuffle()
            | "Embed" >> RunInference(self._handler)
            | "Deal" >> beam.FlatMap(_deal)
            | "Gather" >> beam.GroupByKey()
            | "Write" >> beam.MapTuple(lambda shard, parts: _write(target, shard, shards, parts))
        )


class SavedModelHandler(ModelHandler):
    """Loads a model for `RunInference`, whose elements are batches already.

    Args:
        model_dir: A SavedModel.
    """

    def __init__(self, model_dir: str) -> None:
        super().__init__()
        self._model_dir = model_dir

    def load_model(self) -> Any:
        """Loads the model."""
        import tensorflow as tf

        return tf.saved_model.load(self._model_dir)

    def should_skip_batching(self) -> bool:
        """Returns True: every element is a batch already."""
        return True

    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """Returns the size of a batch, for Beam's metrics."""
        return sum(len(part) for part in batch if isinstance(part, bytes))


class TowersHandler(SavedModelHandler):
    """Loads towers, of which a SavedModel of towers or a servable that holds them is given."""

    def load_model(self) -> Any:
        """Loads the towers, and checks that their signatures are there."""
        from serving.index.towers import load_towers

        return load_towers(self._model_dir)


def release_models() -> None:
    """Lets go of the model that Beam keeps in this process once a job is over.

    Of what its workers share Beam keeps the newest, so that no worker loads it twice; something
    else takes its place here. A model that is kept to the end of the process costs memory, and
    TensorFlow's functions raise when Python ends before them.
    """
    Shared().acquire(_Nothing)


class _Nothing:
    """Takes the place of a shared model."""


class CandidateHandler(TowersHandler):
    """Embeds batches of serialised catalogue rows.

    Args:
        towers_dir: SavedModel with the signature `embed_candidate`.
        candidate_types: Entity types to embed; ["*"] is every type.
        shards: Number of shards.
    """

    def __init__(self, towers_dir: str, candidate_types: Sequence[str], shards: int) -> None:
        super().__init__(towers_dir)
        self._types = tuple(candidate_types)
        self._shards = shards

    def run_inference(
        self, batch: Batch, model: Any, inference_args: Mapping[str, Any] | None = None
    ) -> Iterable[tuple[str, Any]]:
        """Embeds one batch.

        Args:
            batch: Serialised catalogue rows.
            model: What `load_model` returned.
            inference_args: Not used.

        Returns:
            ("rows", Arrow IPC bytes) when there are candidates in the batch,
            and ("skipped", {type: rows}) for the other types.

        Raises:
            ValueError: A row names no entity, or the towers return no [B, d].
        """
        import tensorflow as tf

        examples = tf.constant(batch, tf.string)
        parsed = tf.io.parse_example(examples, _catalogue_spec())
        types = parsed[features.CATALOGUE_TYPE].numpy().astype(str)
        if not parsed[features.CATALOGUE_ENTITY].numpy().all():
            raise ValueError(
                f"A catalogue row has no `{features.CATALOGUE_ENTITY}`: expected `type:id` in each."
            )
        wanted = np.ones(len(batch), bool) if EVERY in self._types else np.isin(types, self._types)
        other, counts = np.unique(types[~wanted], return_counts=True)
        skipped = dict(zip(other.tolist(), counts.tolist(), strict=True))
        answer: list[tuple[str, Any]] = [(_SKIPPED, skipped)] if skipped else []
        if wanted.any():
            vectors = model.signatures["embed_candidate"](examples=examples[wanted])["embedding"]
            answer.append((_ROWS, to_ipc(self._table(parsed, types, vectors.numpy(), wanted))))
        return answer

    def _table(
        self, parsed: Mapping[str, Any], types: np.ndarray, vectors: np.ndarray, wanted: np.ndarray
    ) -> pa.Table:
        import tensorflow as tf

        if vectors.ndim != 2:
            raise ValueError(
                f"`embed_candidate` returned {list(vectors.shape)}; expected [B, d], one vector "
                "a candidate."
            )
        ids = parsed[features.CATALOGUE_ENTITY][wanted]
        flat = pa.array(vectors.astype(np.float32, copy=False).reshape(-1))
        columns = {
            "shard": tf.strings.to_hash_bucket_fast(ids, self._shards).numpy(),
            "id": _strings(ids.numpy()),
            "entity_type": pa.array(types[wanted], pa.string()),
            "title": _strings(_first(parsed[features.CATALOGUE_TITLE], "")[wanted]),
            "available_from": pa.array(
                _first(parsed[features.CATALOGUE_AVAILABLE_FROM], 0)[wanted], pa.int64()
            ),
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
        return pa.table(columns)


def embed_queries(towers: Any, files: Sequence[str], limit: int, batch: int = 256) -> Queries:
    """Embeds the first timelines of some files with the query tower.

    Args:
        towers: Loaded, with the signature `serving_default`.
        files: TFRecord files of raw timelines.
        limit: Timelines at most.
        batch: Timelines embedded at a time.

    Returns:
        Q queries.

    Raises:
        ValueError: The files hold no timeline, or an embedding is not finite.
    """
    import tensorflow as tf

    embed = towers.signatures["serving_default"]
    parts = [embed(examples=tf.constant(records)) for records in read_batches(files, batch, limit)]
    if not parts:
        raise ValueError(
            f"There are no timelines in {list(files)}; expected some to ask the index for."
        )
    given = {
        name: np.concatenate([part[name].numpy() for part in parts]).astype(np.float32, copy=False)
        for name in ("embedding", "weight")
        if name in parts[0]
    }
    queries = Queries(given["embedding"], given.get("weight"))
    broken = ~np.isfinite(queries.vectors).reshape(len(queries), -1).all(axis=1)
    if broken.any():
        raise ValueError(
            f"{broken.sum()} of {len(queries)} query embeddings are not finite (first at row "
            f"{int(np.argmax(broken))}): the query tower is broken; look at its training loss."
        )
    return queries


def _catalogue_spec() -> dict[str, Any]:
    import tensorflow as tf

    def ragged(dtype: Any) -> Any:
        return tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)

    return {
        features.CATALOGUE_ENTITY: tf.io.FixedLenFeature([], tf.string, ""),
        features.CATALOGUE_TYPE: tf.io.FixedLenFeature([], tf.string, ""),
        features.CATALOGUE_TITLE: ragged(tf.string),
        features.CATALOGUE_AVAILABLE_FROM: ragged(tf.int64),
    }


def _first(column: Any, filler: Any) -> np.ndarray:
    """Returns the first value of each row, None where a row has none: [B] objects."""
    dense = column.to_tensor(filler, shape=[None, 1]).numpy()[:, 0].astype(object)
    dense[column.row_lengths().numpy() == 0] = None
    return dense


def _strings(values: np.ndarray) -> pa.Array:
    return pa.array(
        [None if value is None else value.decode("utf-8", "replace") for value in values],
        pa.string(),
    )


def _deal(answer: tuple[str, Any]) -> Iterator[tuple[int, tuple[str, Any]]]:
    """Splits one batch's rows by shard; what was skipped is counted with shard 0."""
    kind, content = answer
    if kind == _SKIPPED:
        yield 0, answer
        return
    table = from_ipc(content)
    numbers = table["shard"].to_numpy()
    table = table.drop(["shard"])
    for shard in np.unique(numbers):
        yield int(shard), (_ROWS, to_ipc(table.filter(pa.array(numbers == shard))))


def _write(target: str, shard: int, shards: int, parts: Iterable[tuple[str, Any]]) -> str:
    tables: list[pa.Table] = []
    skipped: dict[str, int] = {}
    for kind, content in parts:
        if kind == _ROWS:
            tables.append(from_ipc(content))
        else:
            for name, count in content.items():
                skipped[name] = skipped.get(name, 0) + count
    return write_shard(target, shard, shards, tables, skipped)
