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
        history = batch[b.HISTORY_ENTITY]
        distinct, place = tf.unique(tf.reshape(history, [-1]))
        described = self._described(distinct) if self.history_map else None
        return self._queries(batch, self._history(distinct, described), place, training)

    def embed_items(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds items of the catalogue: [N] distinct int64 ids -> [N, d] float32."""
        return self._direction(self.candidate_tower.combine(ids, self._described(ids), training))

    def embed_features(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Embeds items by their features (`models.catalogue`), N rows -> [N, d] float32."""
        return self._direction(self.candidate_tower(features))

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Computes the retrieval loss of a batch.

        Every distinct item of the batch is embedded once, so a step costs what the
        batch holds, whatever the size of the catalogue, and an item whose id is
        hidden is hidden for the whole batch.

        Args:
            inputs: Windows and `target/entity` [B] by name (`models.batch`).
            training: Whether dropout works and ids are hidden.

        Returns:
            Scalar float32.
        """
        full, target = self.config.task.loss == "full", inputs[b.TARGET_ENTITY]
        if full:
            candidates = self._trained
        else:
            sampled = self.sampler.sample(self.config.task.negatives)
            candidates = tf.concat([target, sampled], axis=0)
        history = tf.reshape(inputs[b.HISTORY_ENTITY], [-1])
        # Candidates come first, so the distinct candidates are the first distinct ids.
        distinct, place = tf.unique(tf.concat([candidates, history], axis=0))
        candidate_place = place[: tf.size(candidates)]
        number = tf.reduce_max(candidate_place) + 1
        described = self._described(distinct)
        vectors = self._history(distinct, described)
        query = self._queries(inputs, vectors, place[tf.size(candidates) :], training)
        described = None if described is None else described[:number]
        items = self.candidate_tower.combine(distinct[:number], described, training)
        items = self._direction(items)  # [n, d]
        excluded = None
        if b.SEEN_ENTITY in inputs:
            excluded = seen_mask(inputs[b.SEEN_ENTITY], distinct[:number], target)
        if full:
            labels = tf.gather(self._columns, target)
            loss = self.task.full(query, items, labels, excluded=excluded)
        else:
            loss = self._sampled_loss(query, target, items, distinct, candidate_place, excluded)
        self.mean_loss.update_state(loss)
        return loss

    def _sampled_loss(
        self,
        query: tf.Tensor,
        target: tf.Tensor,
        items: tf.Tensor,
        ids: tf.Tensor,
        place: tf.Tensor,
        excluded: tf.Tensor | None,
    ) -> tf.Tensor:
        """Computes the loss with each distinct negative once, in the name of its equals.

        Args:
            query: [B, d].
            target: [B] ids.
            items: [n, d], vectors of the distinct targets and sampled negatives.
            ids: [>= n], their ids first.
            place: [B + N], which of the items each target, then each sample is.
            excluded: [B, n] bool or None.

        Returns:
            Scalar float32.
        """
        config, batch, number = self.config.task, tf.size(target), tf.shape(items)[0]
        negatives = place if config.in_batch else place[batch:]
        many = tf.cast(tf.math.bincount(negatives, minlength=number), tf.float32)  # [n]
        correction = tf.where(many > 0, -tf.math.log(many), 1e30)
        if config.correct_sampling:
            correction += self.sampler.log_expected_count(ids[:number], batch, config.negatives)
        return self.task(
            query,
            tf.gather(items, place[:batch]),
            target_ids=target,
            negative_embeddings=items,
            negative_ids=ids[:number],
            correction=correction,
            excluded=excluded,
        )

    def _described(self, ids: tf.Tensor) -> tf.Tensor | None:
        return self.candidate_tower.describe(self.candidate_tower.look_up(ids))

    def _history(self, ids: tf.Tensor, described: tf.Tensor | None) -> tf.Tensor:
        """Returns the vectors of items as parts of a history: [U] ids -> [U, d]."""
        vectors = (self.history_ids or self.candidate_tower.ids)(ids)
        return vectors + self.history_map(described) if self.history_map else vectors

    def _queries(
        self,
        batch: Mapping[str, tf.Tensor],
        vectors: tf.Tensor,
        place: tf.Tensor,
        training: bool,
    ) -> tf.Tensor:
        """Embeds requests whose windows' items have [U, d] vectors at [B T] places."""
        place = tf.reshape(place, tf.shape(batch[b.HISTORY_ENTITY]))
        query = self.query_tower(batch, vectors, place, training=training)
        return self._direction(query) * tf.exp(self.log_scale)

    def _direction(self, vectors: tf.Tensor) -> tf.Tensor:
        if not self.config.two_tower.normalize:
            return vectors
        return tf.math.l2_normalize(vectors, axis=-1)
