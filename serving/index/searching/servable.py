"""Assembles what is pushed: the towers and the index in one SavedModel of stock operations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf

from serving.index import files
from serving.index.candidates import CandidateIds
from serving.index.config import EVERY
from serving.index.config import ServeConfig
from serving.index.files import INDEX_DIR
from serving.index.searching.backend import PORTABLE
from serving.index.searching.backend import choose_backend
from serving.index.searching.backend import make_searcher
from serving.index.searching.quantised_vectors import FLOAT32
from serving.index.searching.searcher import Searcher
from serving.index.towers import NEEDED
from serving.index.towers import check_towers
from serving.index.towers import load_towers
from serving.publishing.servable_file import SERVABLE
from transforms import features

_REQUIRED = (
    "saved_model.pb",
    "variables/variables.index",
    SERVABLE,
    f"{INDEX_DIR}/{files.INDEX}",
    f"{INDEX_DIR}/{files.CANDIDATES}",
    f"{INDEX_DIR}/{files.VECTORS}",
)
_EXCLUDE = {
    "exclude_ids": tf.TensorSpec([None, None], tf.string, name="exclude_ids"),
    "exclude_length": tf.TensorSpec([None], tf.int64, name="exclude_length"),
}


class RetrievalServable(tf.Module):
    """Query tower, search and ids as one module.

    Args:
        towers: A loaded SavedModel with the signatures `serving_default`,
            `embed_query` and `embed_candidate`.
        searcher: Over the vectors of the candidates.
        candidates: Their ids, in the same order.
        exclude_seen: Types of history events whose entities are excluded;
            ["*"] is every type.
        seen_events: How many of the newest events of a history they are looked for among.
    """

    def __init__(
        self,
        towers: Any,
        searcher: Searcher,
        candidates: CandidateIds,
        exclude_seen: tuple[str, ...] = (),
        seen_events: int = 4_096,
    ) -> None:
        super().__init__(name="retrieval_servable")
        self.towers = towers
        self.searcher = searcher
        self.candidates = candidates
        self._exclude_seen = tuple(exclude_seen)
        self._seen_events = seen_events

    def recommend(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers dense requests.

        Args:
            **inputs: The inputs of the towers' `embed_query` (among them
                history_ids and history_events [B, T] string, history_length
                and request_time [B] int64), exclude_ids [B, E] string and
                exclude_length [B] int64. What lies beyond a length is not read.

        Returns:
            ids [B, k] string and scores [B, k] float32, best first; "" and
            -inf where nothing more can be recommended.
        """
        more = inputs.pop("exclude_ids"), inputs.pop("exclude_length")
        embedded = self.towers.signatures["embed_query"](**inputs)
        excluded = self._listed(*more)
        if self._exclude_seen:
            seen = self._seen(
                inputs["history_ids"], inputs["history_events"], inputs["history_length"]
            )
            excluded = tf.concat([excluded, seen], axis=1)
        rows, scores = self._search(embedded, excluded, inputs["request_time"])
        return {"ids": self.candidates.names(rows), "scores": scores}

    def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers serialised timelines, of which no target is read.

        Args:
            examples: [B] string.

        Returns:
            classes [B, k] string and scores [B, k] float32, as `recommend`'s.
        """
        embedded = self.towers.signatures["serving_default"](examples=examples)
        excluded = tf.fill([tf.shape(examples)[0], 0], -1)
        history = _parse_history(examples)
        if self._exclude_seen:
            seen = history[features.EVENT_ENTITY]
            excluded = self._seen(
                seen.to_tensor(""),
                history[features.EVENT_TYPE].to_tensor("", shape=seen.bounding_shape()),
                seen.row_lengths(),
            )
        rows, scores = self._search(embedded, excluded, history[features.REQUEST_TIME])
        return {"classes": self.candidates.names(rows), "scores": scores}

    def _search(
        self, embedded: dict[str, tf.Tensor], excluded: tf.Tensor, request_time: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        weight = embedded.get("weight")
        return self.searcher.search(embedded["embedding"], excluded, request_time, weight)

    def _seen(self, ids: tf.Tensor, events: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """Finds the rows that the history excludes: [B, T] names and events -> [B, T] int32."""
        position = tf.range(tf.shape(ids, tf.int64)[1])  # oldest first
        newest = position >= length[:, None] - self._seen_events  # [B, T]
        rows = tf.where(newest, self._listed(ids, length), -1)
        if EVERY in self._exclude_seen:
            return rows
        counts = tf.reduce_any(events[:, :, None] == tf.constant(self._exclude_seen), axis=-1)
        return tf.where(counts, rows, -1)

    def _listed(self, names: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        inside = tf.sequence_mask(length, tf.shape(names)[1])
        return tf.where(inside, self.candidates.rows(names), -1)

    def signatures(self) -> dict[str, Any]:
        """Returns the concrete functions to export, by signature name.

        Every output has a row for each row of the inputs: TF Serving calls no
        other where it merges requests, so that the towers' `transform_features`
        stays with the towers.
        """
        towers = self.towers.signatures
        exported = {name: _forward(towers[name]) for name in NEEDED[1:]}
        query = towers["embed_query"].structured_input_signature[1]
        exported["recommend"] = _traced(
            self.recommend, **{name: _named(spec, name) for name, spec in query.items()}, **_EXCLUDE
        )
        exported["serving_default"] = _traced(
            self.serve_examples, tf.TensorSpec([None], tf.string, name="examples")
        )
        return exported


def write_servable(
    towers_dir: str | Path, index_dir: str | Path, target: str | Path, config: ServeConfig
) -> dict[str, Any]:
    """Writes the servable of towers and index.

    Args:
        towers_dir: SavedModel of the towers.
        index_dir: Index directory, built from the same towers.
        target: Directory to write: a SavedModel, `servable.json`, and the
            index in `index/`.
        config: Results, search backend and what is excluded.

    Returns:
        The content of `servable.json`.

    Raises:
        FileNotFoundError: There are no towers or no index.
        IndexIntegrityError: The index is damaged, or of other towers.
        ValueError: The towers lack a signature, or have other dimensions.
    """
    index = files.open_index(index_dir)
    towers = load_towers(towers_dir)
    check_towers(index, towers, towers_dir)
    return assemble(towers, index, Path(target), config)


def assemble(
    towers: Any, index: files.IndexFiles, target: Path, config: ServeConfig
) -> dict[str, Any]:
    """Does what `write_servable` does with loaded towers, which the index was built with."""
    backend = choose_backend(index, config.exact_below)
    servable = RetrievalServable(
        towers,
        make_searcher(index, backend, config.k, config.chunk_mb, config.vectors),
        CandidateIds(index.candidates["id"].to_pylist()),
        config.exclude_seen,
        config.seen_events,
    )
    signatures = servable.signatures()
    tf.saved_model.save(servable, str(target), signatures=signatures)
    shutil.copytree(index.path, target / INDEX_DIR, dirs_exist_ok=True)
    description = {
        "stage": "retrieval",
        "signatures": sorted(signatures),
        "required": list(_REQUIRED),
        "backend": backend.name,
        "reason": backend.reason,
        "vectors": config.vectors if backend.name == PORTABLE else FLOAT32,
        "k": config.k,
        "exclude_seen": list(config.exclude_seen),
        "seen_events": config.seen_events,
        "candidates": index.size,
        "candidate_types": index.info["candidate_types"],
        "dimension": index.info["dimension"],
        "search": {name: index.info["search"][name] for name in ("leaves_to_search", "reorder")},
        "towers": index.info["towers"],
        "index": index.fingerprint,
    }
    text = json.dumps(description, indent=1, sort_keys=True) + "\n"
    (target / SERVABLE).write_text(text, encoding="utf-8")
    return description


def _parse_history(examples: tf.Tensor) -> dict[str, Any]:
    spec = {
        features.EVENT_ENTITY: tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64),
        features.EVENT_TYPE: tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64),
        features.REQUEST_TIME: tf.io.FixedLenFeature([], tf.int64, 0),
    }
    return tf.io.parse_example(examples, spec)


def _forward(signature: Any) -> Any:
    specs = signature.structured_input_signature[1]

    def forward(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return signature(**inputs)

    return _traced(forward, **{name: _named(spec, name) for name, spec in specs.items()})


def _traced(function: Any, *specs: tf.TensorSpec, **named: tf.TensorSpec) -> Any:
    # AutoGraph would convert every line first; no line has control flow over tensors.
    return tf.function(function, autograph=False).get_concrete_function(*specs, **named)


def _named(spec: tf.TensorSpec, name: str) -> tf.TensorSpec:
    return tf.TensorSpec(spec.shape, spec.dtype, name=name)
