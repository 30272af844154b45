"""What every retrieval model shares: items as vectors, and the loss over them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.config import TrainerConfig
from models.input.catalogue import CatalogueTable
from models.input.target_rule import TargetRule
from models.input.timeline_files import Spec
from models.input.vocabulary_sizes import Sizes
from models.input.windows import WindowSpec
from models.layers.item_embedding import ItemEmbedding
from models.retrieval.candidate_tower import CandidateTower
from models.tasks.negatives import NegativeSampler
from models.tasks.retrieval import Retrieval
from models.training.replicas import InputPart
from models.training.replicas import gather_rows
from models.training.replicas import merge_rows
from models.training.replicas import share_of_mean
from models.training.replicas import sum_gradients


class RetrievalModel(tfrs.Model):
    """A candidate tower, the task, and everything of a model but how it reads a history.

    The score of an item is the dot product of the two embeddings, into which
    normalisation and temperature are folded. A subclass embeds queries and says
    which items, targets and queries a batch has. AutoGraph converts nothing here:
    no line has control flow over tensors, and converting takes more than half of
    the time that tracing a step takes.

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
        super().__init__(name=config.model)
        self.config = config
        self.towers = towers = config.towers
        self._seen_types = seen_types
        task = config.task
        known = np.asarray(counts) > 0
        self.candidate_tower = CandidateTower(towers.dim, towers.candidate, sizes, table, known)
        self.history_ids = None
        if not towers.tie_item_tables:
            # Zeros, so that an item which no training history holds adds nothing by its id.
            self.history_ids = ItemEmbedding(sizes.entity, towers.dim, stddev=0.0, name="history")
        self.history_map = None
        if towers.history_features and not self.candidate_tower.features.is_empty:
            self.history_map = tf.keras.layers.Dense(towers.dim, use_bias=False, name="history_map")
        self.task = Retrieval(task.label_smoothing)
        bfloat16 = config.precision == "mixed_bfloat16"
        self._precision = tf.bfloat16 if bfloat16 else tf.float32
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
        self._is_trained = tf.constant(known)
        self.targets = float(np.sum(counts))  # of an epoch
        self._add_query_tower(sizes)

    # What a subclass says.

    def _add_query_tower(self, sizes: Sizes) -> None:
        """Makes what embeds queries."""
        raise NotImplementedError

    def window_spec(self, training: bool) -> WindowSpec:
        """Returns what the windows hold that the model reads.

        Args:
            training: Whether they are for the loss, where seen items are no
                negatives, or for ranking, where they are not recommended.
        """
        raise NotImplementedError

    def training_batches(
        self, files: Sequence[str], spec: Spec, rule: TargetRule, part: InputPart
    ) -> tf.data.Dataset:
        """Makes the batches that `compute_loss` takes.

        Args:
            files: Gzipped TFRecord files of transformed timelines.
            spec: The transformed feature spec.
            rule: Which events may be targets.
            part: The part of the data that is read.

        Returns:
            Dataset of one epoch of batches, the replica's share of each.
        """
        raise NotImplementedError

    def count_batches(self, files: Sequence[str], spec: Spec, rule: TargetRule) -> int:
        """Counts the batches of an epoch, which is one pass over the targets."""
        raise NotImplementedError

    def _history_ids(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns [B, T] int64, the items of a training batch's histories."""
        raise NotImplementedError

    def _target_ids(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns [P] int64, the items that a training batch's queries should find."""
        raise NotImplementedError

    def _queries(
        self,
        inputs: Mapping[str, tf.Tensor],
        vectors: tf.Tensor,
        place: tf.Tensor,
        training: bool,
    ) -> tf.Tensor:
        """Embeds a training batch's queries.

        Args:
            inputs: The batch.
            vectors: [U, d] float32, the distinct items of all histories.
            place: [B, T] int32, which of the vectors each event's item has.
            training: Whether dropout works.

        Returns:
            [P, d] float32, the temperature folded in.
        """
        raise NotImplementedError

    def _excluded(
        self,
        inputs: Mapping[str, tf.Tensor],
        place: tf.Tensor,
        ids: tf.Tensor,
        target_place: tf.Tensor,
    ) -> tf.RaggedTensor | None:
        """Says which candidates are no negatives of a query.

        Args:
            inputs: The batch.
            place: [B, T] int32, as in `_queries`; below n it is a candidate's.
            ids: [n] int64, the distinct candidates.
            target_place: [P] int32, which of the candidates each target is.

        Returns:
            [P, (columns)] int, or None.
        """
        raise NotImplementedError

    # What is the same for all.

    @property
    def _excludes_history(self) -> bool:
        """Whether items of a query's own history are no negatives of it."""
        exclude = self.config.task.exclude_history
        return self._seen_types != () if exclude is None else exclude

    @property
    def feature_widths(self) -> dict[str, int]:
        """The width of each catalogue feature that `embed_features` reads."""
        return self.candidate_tower.widths

    @tf.autograph.experimental.do_not_convert
    def embed_queries(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Embeds requests.

        Args:
            batch: Windows by name (`models.input.batch`), B rows.
            training: Whether dropout works.

        Returns:
            [B, d] float32, the temperature folded in.
        """
        history = self._history_ids(batch)
        distinct, place = tf.unique(tf.reshape(history, [-1]))
        described = self._described(distinct) if self.history_map else None
        place = tf.reshape(place, tf.shape(history))
        return self._queries(batch, self._history(distinct, described), place, training)

    @tf.autograph.experimental.do_not_convert
    def embed_items(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds items of the catalogue: [N] distinct int64 ids -> [N, d] float32."""
        return self._direction(self.candidate_tower.combine(ids, self._described(ids), training))

    @tf.autograph.experimental.do_not_convert
    def embed_features(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Embeds items by their features (`models.input.catalogue`), N rows -> [N, d] float32."""
        return self._direction(self.candidate_tower(features))

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Computes the retrieval loss of a batch.

        Every distinct item of the batch is embedded once, so a step costs what the
        batch holds, whatever the size of the catalogue, and an item whose id is
        hidden is hidden for the whole batch.

        Args:
            inputs: What `training_batches` gives.
            training: Whether dropout works and ids are hidden.

        Returns:
            Scalar float32.
        """
        task, target, history = (
            self.config.task,
            self._target_ids(inputs),
            self._history_ids(inputs),
        )
        if task.loss == "full":
            candidates = self.sampler.trained_ids
        else:
            candidates = tf.concat([target, self._negative_ids(target)], axis=0)
        # Candidates come first, so the distinct candidates are the first distinct ids.
        distinct, place = tf.unique(tf.concat([candidates, tf.reshape(history, [-1])], axis=0))
        place, history_place = place[: tf.size(candidates)], place[tf.size(candidates) :]
        history_place = tf.reshape(history_place, tf.shape(history))
        number = tf.reduce_max(place) + 1
        described = self._described(distinct)
        query = self._queries(inputs, self._history(distinct, described), history_place, training)
        described = None if described is None else described[:number]
        items = self.candidate_tower.combine(distinct[:number], described, training)
        items = self._direction(items)  # [n, d]
        full = task.loss == "full"
        labels = tf.cast(tf.gather(self._columns, target), tf.int32)
        labels = labels if full else place[: tf.size(target)]
        excluded = self._excluded(inputs, history_place, distinct[:number], labels)
        if full:
            loss = self.task(
                query, items, labels=labels, excluded=excluded, precision=self._precision
            )
        else:
            negatives = place[tf.size(target) :]
            loss = self._sampled_loss(query, labels, items, distinct, negatives, excluded)
        rows = tf.size(target)
        self.mean_loss.update_state(loss, sample_weight=tf.cast(rows, tf.float32))
        return share_of_mean(loss, rows)

    @tf.autograph.experimental.do_not_convert
    def train_step(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Learns from one batch, together with the other replicas if there are any.

        Args:
            inputs: What `training_batches` gives.

        Returns:
            `loss`, this replica's share of the batch's, and the metrics so far.
        """
        with tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, training=True)
        weights = self.trainable_variables
        gradients = sum_gradients(tape.gradient(loss, weights))
        if self.config.optimizer.clip_norm:
            gradients = merge_rows(gradients)
        self.optimizer.apply_gradients(
            zip(gradients, weights, strict=True), skip_gradients_aggregation=True
        )
        return {metric.name: metric.result() for metric in self.metrics} | {"loss": loss}

    def _negative_ids(self, target: tf.Tensor) -> tf.Tensor:
        """Returns the ids of the negatives of a batch, the same on all replicas.

        Args:
            target: [P] int64, this replica's targets.

        Returns:
            [n] int64: the targets of all replicas where these are negatives, then the sampled ones.
        """
        task, optimizer = self.config.task, getattr(self, "optimizer", None)
        step = tf.zeros([], tf.int64) if optimizer is None else optimizer.iterations
        seed = tf.stack([tf.constant(self.config.seed, tf.int64), tf.cast(step, tf.int64)])
        sampled = self.sampler.sample(task.negatives, seed)
        if task.loss == "gbce" or not task.in_batch:
            return sampled
        return tf.concat([gather_rows(target), sampled], axis=0)

    def _sampled_loss(
        self,
        query: tf.Tensor,
        labels: tf.Tensor,
        items: tf.Tensor,
        ids: tf.Tensor,
        negatives: tf.Tensor,
        excluded: tf.RaggedTensor | None,
    ) -> tf.Tensor:
        """Computes the loss with each distinct negative once, in the name of its equals.

        Args:
            query: [B, d].
            labels: [B], which of the items each target is.
            items: [n, d], vectors of the distinct targets and sampled negatives.
            ids: [>= n], their ids first.
            negatives: [N], which of the items each negative is.
            excluded: [B, (columns)] int, or None.

        Returns:
            Scalar float32.
        """
        config, number = self.config.task, tf.shape(items)[0]
        many = tf.cast(tf.math.bincount(negatives, minlength=number), tf.float32)  # [n]
        if config.loss == "gbce":
            trained = self.sampler.trained.size
            return self.task.binary(
                query, items, labels, many, trained, config.calibration, excluded
            )
        correction = tf.where(many > 0, -tf.math.log(many), 1e30)
        if config.correct_sampling:
            targets = tf.size(negatives) - config.negatives  # in the batches of all replicas
            correction += self.sampler.log_expected_count(ids[:number], targets, config.negatives)
        return self.task(
            query,
            items,
            labels=labels,
            correction=correction,
            excluded=excluded,
            precision=self._precision,
        )

    def _described(self, ids: tf.Tensor) -> tf.Tensor | None:
        return self.candidate_tower.describe(self.candidate_tower.look_up(ids))

    def _history(self, ids: tf.Tensor, described: tf.Tensor | None) -> tf.Tensor:
        """Returns the vectors of items as parts of a history: [U] ids -> [U, d]."""
        vectors = (self.history_ids or self.candidate_tower.ids)(ids)
        return vectors + self.history_map(described) if self.history_map else vectors

    def _query_direction(self, vectors: tf.Tensor) -> tf.Tensor:
        return self._direction(vectors) * tf.exp(self.log_scale)

    def _direction(self, vectors: tf.Tensor) -> tf.Tensor:
        return tf.math.l2_normalize(vectors, axis=-1) if self.towers.normalize else vectors
