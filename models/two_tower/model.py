"""The two-tower recommender."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping
from typing import cast

import numpy as np
import tensorflow as tf

from models.config import RetrievalTrainerConfig
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.target_batches import target_frequencies
from models.input.target_batches import training_batches
from models.input.target_rule import TargetRule
from models.input.vocabulary_sizes import VocabularySizes
from models.input.windows import ALL
from models.input.windows import WindowSpec
from models.layers.mixture import Queries
from models.retrieval.model import RetrievalModel
from models.tasks.excluded import seen_columns
from models.training.data import TrainingData
from models.training.replicas import InputPart
from models.two_tower.config import TwoTowerConfig
from models.two_tower.query_tower import QueryTower

QueryReader = Callable[..., Queries]


class TwoTower(RetrievalModel):
    """A query tower over the timeline and a candidate tower over the catalogue.

        query = scale(query_tower(history, user, words)),   score = query . candidate_tower(item)

    See `models.retrieval.model.RetrievalModel` for the arguments.
    """

    towers: TwoTowerConfig

    def __init__(
        self,
        config: RetrievalTrainerConfig,
        sizes: VocabularySizes,
        table: CatalogueTable,
        counts: np.ndarray,
        seen_types: tuple[int, ...] | None = (),
    ) -> None:
        super().__init__(config, sizes, table, counts, seen_types)
        self.query_tower = self.make_query_tower(sizes, table)

    def make_query_tower(self, sizes: VocabularySizes, table: CatalogueTable) -> QueryReader:
        """Makes what embeds windows."""
        del table
        return QueryTower(self.towers.dim, self.towers.query, sizes)

    def arrange(
        self, windows: Mapping[str, tf.Tensor], training: bool = False
    ) -> Mapping[str, tf.Tensor]:
        """Makes what the query tower reads of windows by name, B rows."""
        del training
        return windows

    @classmethod
    def target_frequencies(cls, config: RetrievalTrainerConfig, data: TrainingData) -> np.ndarray:
        """Returns how often each entity is drawn as a target; see the base class."""
        towers = cast(TwoTowerConfig, config.model)
        limit = towers.input.targets_per_timeline
        if not limit:
            return data.target_counts
        rule = TargetRule.of(config, data)
        return target_frequencies(data.train_files, data.spec, rule, limit)

    @tf.autograph.experimental.do_not_convert
    def embed_queries(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> Queries:
        """Embeds requests: [B, d] float32; see the base class."""
        batch = self.arrange(batch, training)
        vectors, position = self.history_vectors(batch[b.HISTORY_ENTITY])
        return self.as_query(self.query_tower(batch, vectors, position, training=training))

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Computes the loss of telling each request's target from other items.

        Args:
            inputs: What `training_batches` gives.
            training: Whether dropout works and ids are dropped.

        Returns:
            Scalar float32.
        """
        inputs = self.arrange(inputs, training)
        items = self.batch_items(inputs[b.TARGET_ENTITY], inputs[b.HISTORY_ENTITY])
        query = self.query_tower(inputs, items.history, items.position, training=training)
        excluded = None
        if b.SEEN_ENTITY in inputs:
            excluded = seen_columns(
                inputs[b.SEEN_ENTITY], items.candidates.ids, inputs[b.TARGET_ENTITY]
            )
        return self.loss_of_batch(self.as_query(query), items, excluded, training)

    def window_spec(self, training: bool) -> WindowSpec:
        """Returns what the windows hold; see the base class."""
        query = self.towers.query
        seen = ALL if self._seen_types != () else 0
        if training:
            seen = self.towers.input.seen_window if self.excludes_history else 0
        return WindowSpec(
            window=query.window,
            seen=seen,
            use_time=query.use_time,
            attributes=query.max_user_attributes if query.use_user_attributes else 0,
            query_tokens=query.max_query_tokens if query.use_query else 0,
            seen_types=self._seen_types or None,
        )

    def training_batches(self, data: TrainingData, part: InputPart) -> tf.data.Dataset:
        """Makes batches of targets with the windows before them; see the base class."""
        return training_batches(
            data.train_files,
            data.spec,
            self.window_spec(training=True),
            TargetRule.of(self.config, data),
            self.config.input,
            self.towers.input.targets_per_timeline,
            self.config.seed,
            part,
        )

    def count_batches(self, data: TrainingData) -> int:
        """Counts the batches of an epoch by the number of targets."""
        return math.ceil(round(self.targets_per_epoch) / self.config.input.batch_size)
