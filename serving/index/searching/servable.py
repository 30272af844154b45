"""Assembles what is pushed: the towers and the index in one SavedModel of stock operations."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from serving.index.candidates import CandidateIds
from serving.index.config import EVERY
from serving.index.searching.searcher import Searcher
from serving.index.towers import NEEDED
from serving.sources.history import History
from serving.sources.joined import Described
from serving.sources.joined import JoinedSearch
from transforms import features

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
        joined: Search over more sources than the tower, with `searcher` among them; None
            for the tower alone.
    """

    def __init__(
        self,
        towers: Any,
        searcher: Searcher,
        candidates: CandidateIds,
        exclude_seen: tuple[str, ...] = (),
        seen_events: int = 4_096,
        joined: JoinedSearch | None = None,
    ) -> None:
        super().__init__(name="retrieval_servable")
        self.towers = towers
        self.searcher = searcher
        self.candidates = candidates
        self._exclude_seen = tuple(exclude_seen)
        self._seen_events = seen_events
        self.joined = joined

    def recommend(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers dense requests.

        Args:
            **inputs: The inputs of the towers' `embed_query` (among them
                history_ids and history_events [B, T] string, history_length
                and request_time [B] int64), exclude_ids [B, E] string and
                exclude_length [B] int64. What lies beyond a length is not read.

        Returns:
            ids [B, k] string and scores [B, k] float32, best first; "" and
            -inf where nothing more can be recommended. With more sources than the
            tower also sources [B, k] int32, bits as in `serving.sources.candidates`.
        """
        excluded = self._listed(inputs.pop("exclude_ids"), inputs.pop("exclude_length"))
        embedded = self.towers.signatures["embed_query"](**inputs)
        names, length = inputs["history_ids"], inputs["history_length"]
        history = History(
            self._listed(names, length),
            inputs["history_events"],
            inputs["history_timestamps"],
            length,
        )
        answer = self._search(embedded, excluded, names, history, inputs["request_time"])
        return {"ids": self.candidates.names(answer.pop("rows")), **answer}

    def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers serialised timelines, of which no target is read.

        Args:
            examples: [B] string.

        Returns:
            classes [B, k] string and scores [B, k] float32, as `recommend`'s.
        """
        answer = self._search(*self._read(examples))
        return {"classes": self.candidates.names(answer["rows"]), "scores": answer["scores"]}

    def describe_examples(self, examples: tf.Tensor) -> tuple[Described, tf.Tensor]:
        """Describes the united candidates of serialised timelines, before they are ordered.

        Returns:
            The candidates with their features, and the lengths of the histories, [B] int64.
        """
        assert self.joined is not None
        embedded, excluded, names, history, request_time = self._read(examples)
        excluded, history = self._prepared(excluded, names, history)
        return self.joined.describe(embedded, excluded, history, request_time), history.length

    def _read(self, examples: tf.Tensor) -> tuple[Any, tf.Tensor, tf.Tensor, History, tf.Tensor]:
        """Returns the arguments of `_search` for serialised timelines."""
        embedded = self.towers.signatures["serving_default"](examples=examples)
        parsed = _parse_history(examples)
        ids = parsed[features.EVENT_ENTITY]
        shape = ids.bounding_shape()
        names, length = ids.to_tensor(""), ids.row_lengths()
        history = History(
            self._listed(names, length),
            parsed[features.EVENT_TYPE].to_tensor("", shape=shape),
            parsed[features.EVENT_TIMESTAMP].to_tensor(0, shape=shape),
            length,
        )
        nothing = tf.fill([tf.shape(examples)[0], 0], -1)
        return embedded, nothing, names, history, parsed[features.REQUEST_TIME]

    def _search(
        self,
        embedded: dict[str, tf.Tensor],
        excluded: tf.Tensor,
        names: tf.Tensor,
        history: History,
        request_time: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Returns rows and scores [B, k], with more sources also which brought each."""
        excluded, history = self._prepared(excluded, names, history)
        if self.joined is not None:
            found = self.joined.search(embedded, excluded, history, request_time)
            return dict(zip(("rows", "scores", "sources"), found, strict=True))
        weight = embedded.get("weight")
        rows, scores = self.searcher.search(embedded["embedding"], excluded, request_time, weight)
        return {"rows": rows, "scores": scores}

    def _prepared(
        self, excluded: tf.Tensor, names: tf.Tensor, history: History
    ) -> tuple[tf.Tensor, History]:
        """Adds what was seen to what is excluded, and rows of entities that are no candidates."""
        if self._exclude_seen:
            excluded = tf.concat([excluded, self._seen(history)], axis=1)
        if self.joined is not None:
            history = history._replace(rows=self.joined.rows(names, history.rows))
        return excluded, history

    def _seen(self, history: History) -> tf.Tensor:
        """Finds the rows that histories exclude: [B, T] int32, -1 for none."""
        position = tf.range(tf.shape(history.rows, tf.int64)[1])  # oldest first
        newest = position >= history.length[:, None] - self._seen_events  # [B, T]
        rows = tf.where(newest, history.rows, -1)
        if EVERY in self._exclude_seen:
            return rows
        types = tf.constant(self._exclude_seen)
        counts = tf.reduce_any(history.events[:, :, None] == types, axis=-1)
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


def _parse_history(examples: tf.Tensor) -> dict[str, Any]:
    spec = {
        features.EVENT_ENTITY: tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64),
        features.EVENT_TYPE: tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64),
        features.EVENT_TIMESTAMP: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64),
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
