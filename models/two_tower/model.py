"""The two-tower recommender."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf

from models.input import batch as b
from models.input.target_batches import training_batches
from models.input.target_rule import TargetRule
from models.input.timeline_files import Spec
from models.input.vocabulary_sizes import Sizes
from models.input.windows import ALL
from models.input.windows import WindowSpec
from models.retrieval.model import RetrievalModel
from models.tasks.excluded import seen_columns
from models.training.replicas import InputPart
from models.two_tower.query_tower import QueryTower


class TwoTower(RetrievalModel):
    """A query tower over the timeline and a candidate tower over the catalogue."""

    def _add_query_tower(self, sizes: Sizes) -> None:
        towers = self.config.two_tower
        self.query_tower = QueryTower(towers.dim, towers.query, sizes)

    def window_spec(self, training: bool) -> WindowSpec:
        """Returns what the windows hold; see the base class."""
        query = self.config.two_tower.query
        seen = ALL if self._seen_types != () else 0
        if training:
            seen = self.config.input.seen_window if self._excludes_history else 0
        return WindowSpec(
            window=query.window,
            seen=seen,
            use_time=query.use_time,
            attributes=query.max_user_attributes if query.use_user_attributes else 0,
            query_tokens=query.max_query_tokens if query.use_query else 0,
            seen_types=self._seen_types or None,
        )

    def training_batches(
        self, files: Sequence[str], spec: Spec, rule: TargetRule, part: InputPart
    ) -> tf.data.Dataset:
        """Makes batches of targets with the windows before them; see the base class."""
        windows = self.window_spec(training=True)
        return training_batches(
            files, spec, windows, rule, self.config.input, self.config.seed, part
        )

    def count_batches(self, files: Sequence[str], spec: Spec, rule: TargetRule) -> int:
        """Counts the batches of an epoch by the number of targets; see the base class."""
        del files, spec, rule
        return math.ceil(round(self.targets) / self.config.input.batch_size)

    def _history_ids(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return inputs[b.HISTORY_ENTITY]

    def _target_ids(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return inputs[b.TARGET_ENTITY]

    def _queries(
        self,
        inputs: Mapping[str, tf.Tensor],
        vectors: tf.Tensor,
        place: tf.Tensor,
        training: bool,
    ) -> tf.Tensor:
        return self._query_direction(self.query_tower(inputs, vectors, place, training=training))

    def _excluded(
        self,
        inputs: Mapping[str, tf.Tensor],
        place: tf.Tensor,
        ids: tf.Tensor,
        target_place: tf.Tensor,
    ) -> tf.RaggedTensor | None:
        if b.SEEN_ENTITY not in inputs:
            return None
        return seen_columns(inputs[b.SEEN_ENTITY], ids, inputs[b.TARGET_ENTITY])
