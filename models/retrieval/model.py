"""Base of the retrieval models: items as vectors, and their ranking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.config import RetrievalTrainerConfig
from models.export.towers import save_towers
from models.input.catalogue import CatalogueTable
from models.input.catalogue import load_catalogue
from models.input.target_batches import evaluation_batches
from models.input.vocabulary_sizes import VocabularySizes
from models.input.windows import WindowSpec
from models.layers.candidate_tower import CandidateTower
from models.layers.item_embedding import ItemEmbedding
from models.layers.mixture import Mixture
from models.layers.mixture import Queries
from models.layers.mixture import SoftBest
from models.retrieval.catalogue_ranking import CatalogueRanking
from models.retrieval.catalogue_ranking import ModelRanking
from models.tasks.retrieval_loss import Candidates
from models.training.data import TrainingData
from models.training.learner import Evaluation
from models.training.learner import Learner


class BatchItems(NamedTuple):
    """The distinct items of a batch, each embedded once.

    Attributes:
        candidates: What queries are scored against, first among the items.
        described: [U, d] float32, the catalogue features of all items; None without any.
        history: [U, d] float32, all items as parts of a history.
        position: [B, T] int32, which of the items each event of a history has; below
            n it is a candidate's.
    """

    candidates: Candidates
    described: tf.Tensor | None
    history: tf.Tensor
    position: tf.Tensor


class RetrievalModel(Learner):
    """A candidate tower and a loss; a family adds what embeds queries.

    The score of an item is the dot product of the two embeddings, into which
    normalisation and temperature are folded. A family says in one file how it goes
    from a batch to queries (`embed_queries`) and to the loss (`compute_loss`).

    Args:
        config: The model and how it is trained.
        sizes: Sizes of the vocabularies.
        table: Catalogue features by entity index.
        counts: [V + 1], how often each entity is a training target, up to a factor.
        seen_types: Indices of the event types whose entities are not recommended
            again; None is all, the empty tuple none.
    """

    config: RetrievalTrainerConfig

    def __init__(
        self,
        config: RetrievalTrainerConfig,
        sizes: VocabularySizes,
        table: CatalogueTable,
        counts: np.ndarray,
        seen_types: tuple[int, ...] | None = (),
    ) -> None:
        super().__init__(config, name=config.model.family)
        self.towers = towers = config.model
        self._seen_types = seen_types
        self._candidate_ids = table.candidates(config.candidate_types)
        self._available_from = table.available_from
        self.targets_per_epoch = float(np.sum(counts))
        known = np.asarray(counts) > 0
        self.candidate_tower = CandidateTower(towers.dim, towers.candidate, sizes, table, known)
        self.history_ids = None
        if not towers.tie_item_tables:
            # Zeros, so that an item which no training history holds adds nothing by its id.
            self.history_ids = ItemEmbedding(sizes.entity, towers.dim, stddev=0.0, name="history")
        self.history_map = None
        if towers.history_features and not self.candidate_tower.features.is_empty:
            self.history_map = tf.keras.layers.Dense(towers.dim, use_bias=False, name="history_map")
        precision = "bfloat16" if config.precision == "mixed_bfloat16" else "float32"
        self.task = towers.loss.make(counts, config.seed, precision)
        scale = tf.constant_initializer(-np.log(towers.temperature))
        self.log_scale = self.add_weight(
            name="log_scale", shape=[], initializer=scale, trainable=towers.learn_temperature
        )

    @classmethod
    def of(cls, config: RetrievalTrainerConfig, data: TrainingData) -> RetrievalModel:
        """Makes the model for what it will learn from.

        Raises:
            ValueError: There are no catalogue files, no targets or no candidates.
        """
        table = load_catalogue(
            data.catalogue_files, data.spec, data.sizes.entity, config.model.candidate
        )
        counts = cls.target_frequencies(config, data)
        return cls(config, data.sizes, table, counts, data.event_types(config.exclude_seen))

    @classmethod
    def target_frequencies(cls, config: RetrievalTrainerConfig, data: TrainingData) -> np.ndarray:
        """Returns how often each entity is a target in an epoch, [V + 1], on average."""
        return data.target_counts

    def window_spec(self, training: bool) -> WindowSpec:
        """Returns what the windows hold that the model reads.

        Args:
            training: Whether they are for the loss, where seen items are no
                negatives, or for ranking, where they are not recommended.
        """
        raise NotImplementedError

    def embed_queries(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> Queries:
        """Embeds requests.

        Args:
            batch: Windows by name (`models.input.batch`), B rows.
            training: Whether dropout works.

        Returns:
            [B, d] float32, for K interests [B, K, d], of which the best counts, or a mixture of
            them; the temperature is folded in.
        """
        raise NotImplementedError

    @tf.autograph.experimental.do_not_convert
    def embed_items(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds items of the catalogue: [N] distinct int64 ids -> [N, d] float32."""
        return self._direction(self.candidate_tower.combine(ids, self._described(ids), training))

    @tf.autograph.experimental.do_not_convert
    def embed_features(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Embeds items by their features (`models.input.catalogue`), N rows -> [N, d] float32."""
        return self._direction(self.candidate_tower(features))

    @property
    def feature_widths(self) -> dict[str, int]:
        """The width of each catalogue feature that `embed_features` reads."""
        return self.candidate_tower.widths

    def validation(self, data: TrainingData) -> Evaluation:
        """Makes what ranks the held-out targets among all candidates; see the base class."""
        windows = self.window_spec(training=False)
        ranking = CatalogueRanking(
            evaluation_batches(data.validation_files, data.spec, windows),
            self._candidate_ids,
            data.sizes.entity,
            self.config.validation.k,
            self.config.validation.users,
            self._available_from,
        )
        return ModelRanking(self, ranking, data.target_counts)

    def export(self, tft_layer: tf.keras.layers.Layer, path: str) -> None:
        """Writes the towers; see the base class."""
        save_towers(self, tft_layer, path)

    @property
    def excludes_history(self) -> bool:
        """True where items of a query's own history are no negatives of it."""
        exclude = self.towers.loss.exclude_history
        return self._seen_types != () if exclude is None else exclude

    def history_vectors(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Embeds the distinct items of histories.

        Args:
            ids: [B, T] int64.

        Returns:
            [U, d] float32, the vectors, and [B, T] int32, which of them each event has.
        """
        distinct, position = tf.unique(tf.reshape(ids, [-1]))
        described = self._described(distinct) if self.history_map else None
        return self._as_history(distinct, described), tf.reshape(position, tf.shape(ids))

    def batch_items(self, targets: tf.Tensor, history: tf.Tensor) -> BatchItems:
        """Looks up every distinct item of a training batch once.

        A step then costs what the batch holds, whatever the size of the catalogue, and
        an item whose id is dropped is dropped for the whole batch.

        Args:
            targets: [P] int64.
            history: [B, T] int64.
        """
        distinct, position, candidates = self.distinct_items(targets, history)
        described = self._described(distinct)
        return BatchItems(candidates, described, self._as_history(distinct, described), position)

    def distinct_items(
        self, targets: tf.Tensor, history: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, Candidates]:
        """Finds the distinct items of a training batch, candidates first.

        Args:
            targets: [P] int64.
            history: [B, T] int64.

        Returns:
            [U] int64 ids, [B, T] int32, which of them each event of a history has, and the
            candidates, which are the first of them.
        """
        ids = self.task.candidate_ids(targets, self.step)
        distinct, position = tf.unique(tf.concat([ids, tf.reshape(history, [-1])], axis=0))
        position, events = position[: tf.size(ids)], position[tf.size(ids) :]
        number = tf.reduce_max(position) + 1
        candidates = Candidates(distinct[:number], position, self.task.labels(targets, position))
        return distinct, tf.reshape(events, tf.shape(history)), candidates

    def loss_of_batch(
        self,
        queries: Queries,
        items: BatchItems,
        excluded: tf.RaggedTensor | None,
        training: bool,
    ) -> tf.Tensor:
        """Scores queries against the batch's candidates.

        Args:
            queries: [P, d] float32, or a mixture.
            items: Of `batch_items`.
            excluded: [P, (columns)] int, candidates that are no negatives of a query.
            training: Whether ids are dropped.

        Returns:
            Scalar float32, this replica's share of the mean loss.
        """
        candidates = items.candidates
        described = None
        if items.described is not None:
            described = items.described[: tf.size(candidates.ids)]
        vectors = self.candidate_tower.combine(candidates.ids, described, training)
        loss = self.task(queries, self._direction(vectors), candidates, excluded)
        return self.share_of_loss(loss, tf.size(candidates.labels))

    def as_query(self, vectors: Queries) -> Queries:
        """Folds normalisation and temperature into [..., d] query vectors, or into a mixture's."""
        if isinstance(vectors, Mixture | SoftBest):
            return vectors._replace(vectors=self.as_query(vectors.vectors))
        return self._direction(vectors) * tf.exp(self.log_scale)

    def _described(self, ids: tf.Tensor) -> tf.Tensor | None:
        return self.candidate_tower.describe(self.candidate_tower.look_up(ids))

    def _as_history(self, ids: tf.Tensor, described: tf.Tensor | None) -> tf.Tensor:
        """Returns the vectors of items as parts of a history: [U] ids -> [U, d]."""
        vectors = (self.history_ids or self.candidate_tower.ids)(ids)
        link = self.candidate_tower.features.bags.get("related")
        if link is not None:  # what an item is to those that are linked to it, say to a video
            vectors += link(ids[:, None])
        return vectors + self.history_map(described) if self.history_map else vectors

    def _direction(self, vectors: tf.Tensor) -> tf.Tensor:
        return tf.math.l2_normalize(vectors, axis=-1) if self.towers.normalize else vectors
