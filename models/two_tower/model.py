"""The two-tower recommender."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models import batch as b
from models.catalogue import CatalogueTable
from models.config import TrainerConfig
from models.layers.item_embedding import ItemEmbedding
from models.sizes import Sizes
from models.tasks.negatives import NegativeSampler
from models.tasks.retrieval import Retrieval
from models.tasks.seen import seen_mask
from models.two_tower.candidate_tower import CandidateTower
from models.two_tower.candidate_tower import once_each
from models.two_tower.query_tower import QueryTower
from models.windows import ALL
from models.windows import WindowSpec


class TwoTower(tfrs.Model):
    """A query tower over the timeline and a candidate tower over the catalogue.

    The score of an item is the dot product of the two embeddings, into which
    normalisation and temperature are folded.

    Args:
        config: The model and what it learns.
        sizes: Sizes of the vocabularies.
        table: Catalogue features by entity index.
        counts: [V + 1], how often each entity is a training target.
        seen_types: Indices of the event types whose entities are not recommended
            again; None is all, the empty tuple none.
    """

    def __init__(
        self,
        config: TrainerConfig,
        sizes: Sizes,
        table: CatalogueTable,
        counts: np.ndarray,
        seen_types: tuple[int, ...] | None = (),
    ) -> None:
        super().__init__(name="two_tower")
        self.config = config
        self._seen_types = seen_types
        towers, task = config.two_tower, config.task
        known = np.asarray(counts) > 0
        self.candidate_tower = CandidateTower(towers.dim, towers.candidate, sizes, table, known)
        self.query_tower = QueryTower(towers.dim, towers.query, sizes)
        self.history_ids = None
        if not towers.tie_item_tables:
            # Zeros, so that an item which no training history holds adds nothing by its id.
            self.history_ids = ItemEmbedding(sizes.entity, towers.dim, stddev=0.0, name="history")
        self.history_map = None
        if towers.history_features and not self.candidate_tower.features.is_empty:
            self.history_map = tf.keras.layers.Dense(towers.dim, use_bias=False, name="history_map")
        self.task = Retrieval(task.label_smoothing)
        self.mean_loss = tf.keras.metrics.Mean("mean_loss")  # over the epoch so far
        self.sampler = NegativeSampler(
            counts, task.popularity_exponent, task.uniform_share, task.in_batch
        )
        scale = tf.constant_initializer(-np.log(towers.temperature))
        self.log_scale = self.add_weight(
            name="log_scale", shape=[], initializer=scale, trainable=towers.learn_temperature
        )
        columns = np.zeros(known.shape, np.int64)
        columns[self.sampler.trained] = np.arange(self.sampler.trained.size)
        self._columns = tf.constant(columns)
        self._trained = tf.constant(self.sampler.trained, tf.int64)

    @property
    def feature_widths(self) -> dict[str, int]:
        """The width of each catalogue feature that `embed_features` reads."""
        return self.candidate_tower.widths

    def window_spec(self, training: bool) -> WindowSpec:
        """Returns what the windows hold that the model reads.

        Args:
            training: Whether they are for the loss, where seen items are no
                negatives, or for ranking, where they are not recommended.

        Returns:
            The specification.
        """
        query, exclude = self.config.two_tower.query, self.config.task.exclude_history
        exclude = self._seen_types != () if exclude is None else exclude
        seen = ALL if self._seen_types != () else 0
        if training:
            seen = self.config.input.seen_window if exclude else 0
        return WindowSpec(
            window=query.window,
            seen=seen,
            use_time=query.use_time,
            attributes=query.max_user_attributes if query.use_user_attributes else 0,
            query_tokens=query.max_query_tokens if query.use_query else 0,
            seen_types=self._seen_types or None,
        )

    def embed_queries(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Embeds requests.

        Args:
            batch: Windows by name (`models.batch`), B rows.
            training: Whether dropout works.

        Returns:
            [B, d] float32, the temperature folded in.
        """
        items = once_each(self._history_vectors, batch[b.HISTORY_ENTITY])  # [B, T, d]
        query = self.query_tower(batch, items, training=training)
        return self._direction(query) * tf.exp(self.log_scale)

    def embed_items(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds items of the catalogue: [N] int64 ids -> [N, d] float32."""
        return self._direction(self.candidate_tower.embed(ids, training=training))

    def embed_features(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Embeds items by their features (`models.catalogue`), N rows -> [N, d] float32."""
        return self._direction(self.candidate_tower(features))

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Computes the retrieval loss of a batch.

        Args:
            inputs: Windows and `target/entity` [B] by name (`models.batch`).
            training: Whether dropout works and ids are hidden.

        Returns:
            Scalar float32.
        """
        query = self.embed_queries(inputs, training=training)
        target = inputs[b.TARGET_ENTITY]
        if self.config.task.loss == "full":
            loss = self._full_loss(inputs, query, target, training)
        else:
            loss = self._sampled_loss(inputs, query, target, training)
        self.mean_loss.update_state(loss)
        return loss

    def _full_loss(
        self, inputs: Mapping[str, tf.Tensor], query: tf.Tensor, target: tf.Tensor, training: bool
    ) -> tf.Tensor:
        items = self.embed_items(self._trained, training=training)
        labels = tf.gather(self._columns, target)
        return self.task.full(query, items, labels, excluded=self._excluded(inputs, self._trained))

    def _sampled_loss(
        self, inputs: Mapping[str, tf.Tensor], query: tf.Tensor, target: tf.Tensor, training: bool
    ) -> tf.Tensor:
        config, batch = self.config.task, tf.shape(target)[0]
        sampled = self.sampler.sample(config.negatives)
        vectors = self.embed_items(tf.concat([target, sampled], axis=0), training=training)
        negatives, negative_ids = vectors[batch:], sampled
        if config.in_batch:
            negatives, negative_ids = vectors, tf.concat([target, sampled], axis=0)
        log_count = None
        if config.correct_sampling:
            log_count = self.sampler.log_expected_count(negative_ids, batch, config.negatives)
        return self.task(
            query,
            vectors[:batch],
            target_ids=target,
            negative_embeddings=negatives,
            negative_ids=negative_ids,
            log_expected_count=log_count,
            excluded=self._excluded(inputs, negative_ids),
        )

    def _excluded(self, inputs: Mapping[str, tf.Tensor], items: tf.Tensor) -> tf.Tensor | None:
        """Returns [B, N] bool, items of the row's own history, where these do not count."""
        return seen_mask(inputs[b.SEEN_ENTITY], items) if b.SEEN_ENTITY in inputs else None

    def _history_vectors(self, ids: tf.Tensor) -> tf.Tensor:
        table = self.history_ids or self.candidate_tower.ids
        vectors = table(ids)
        if self.history_map is not None:
            features = self.candidate_tower.features(self.candidate_tower.look_up(ids))
            vectors += self.history_map(features)
        return vectors

    def _direction(self, vectors: tf.Tensor) -> tf.Tensor:
        if not self.config.two_tower.normalize:
            return vectors
        return tf.math.l2_normalize(vectors, axis=-1)
