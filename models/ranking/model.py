"""Base of the ranking models: the loss on pages, calibration and the validation."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
from absl import logging

from models.config import PageTrainerConfig
from models.export.history_codes import HistoryCodes
from models.export.ranker import save_ranker
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.catalogue import load_catalogue
from models.input.negatives import Items
from models.input.page_batches import PageSpec
from models.input.page_batches import candidate_mask
from models.input.page_batches import count_items
from models.input.page_batches import count_pages
from models.input.page_batches import evaluation_pages
from models.input.page_batches import page_batches
from models.input.timeline_files import held_in_memory
from models.input.vocabulary_sizes import VocabularySizes
from models.input.windows import WindowSpec
from models.layers.candidate_tower import CandidateTower
from models.ranking.calibration import platt_scaling
from models.ranking.config import RankingModelConfig
from models.ranking.features import PageFeatures
from models.ranking.features import PageView
from models.ranking.page_metrics import auc
from models.ranking.page_metrics import calibration
from models.ranking.page_metrics import grouped_auc
from models.ranking.page_metrics import log_loss
from models.training.data import TrainingData
from models.training.learner import Evaluation
from models.training.learner import Learner
from models.training.learner import Metrics
from models.training.replicas import InputPart

_POSITIONS = 64  # later ones count as the last


class RankingModel(Learner):
    """A model of the probability that a candidate's events follow; a family adds the logits.

        p = sigmoid(a logits(page, candidate) + b)

    with (a, b) the calibration. In training the position of a candidate in a result page adds
    a bias of its own, which a request has not. A candidate without any label counts 1 / r times
    where training keeps a share r of them: for all that were left out.

    Args:
        config: The model and how it is trained.
        sizes: Sizes of the vocabularies.
        table: Catalogue features by entity index.
        known: [V + 1] bool, which entities training has met.
        pages: What pages hold.
    """

    config: PageTrainerConfig
    tower: type[CandidateTower] = CandidateTower  # makes the vectors of items

    def __init__(
        self,
        config: PageTrainerConfig,
        sizes: VocabularySizes,
        table: CatalogueTable,
        known: np.ndarray,
        pages: PageSpec,
    ) -> None:
        super().__init__(config, name=config.model.family)
        self.model: RankingModelConfig = config.model
        self.heads = config.label.heads
        self.pages = pages
        self.codes_of_histories: HistoryCodes | None = None  # that requests may carry
        self.features = PageFeatures(self.model, sizes, table, known, self.tower)
        self.position_bias = None
        if self.model.position_bias and config.label.source == "impressions":
            self.position_bias = tf.keras.layers.Embedding(
                _POSITIONS + 1, len(self.heads), embeddings_initializer="zeros", name="position"
            )
        # Reduced to a mean here: under a strategy Keras refuses to guess over which rows.
        none = tf.keras.losses.Reduction.NONE
        self.task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.BinaryCrossentropy(from_logits=True, reduction=none)
        )
        heads = len(self.heads)
        self.slope = self.add_weight(
            name="slope", shape=[heads], initializer="ones", trainable=False
        )
        self.offset = self.add_weight(
            name="offset", shape=[heads], initializer="zeros", trainable=False
        )

    @classmethod
    def of(cls, config: PageTrainerConfig, data: TrainingData) -> RankingModel:
        """Makes the model for what it will learn from."""
        read = (config.model.candidate, config.model.compared)
        table = load_catalogue(data.catalogue_files, data.spec, data.sizes.entity, *read)
        pages = PageSpec(
            windows_of(config.model),
            config.label,
            data.event_types(config.label.events) if config.label.source != "impressions" else None,
            config.model.negative_rate,
            Items.of(table.candidates(config.candidate_types), table.available_from),
        )
        known = count_items(data.train_files, data.spec, data.sizes.entity) > 0
        made = cls(config, data.sizes, table, known, pages)
        if config.model.history_codes:
            made.codes_of_histories = HistoryCodes.of(pages.windows, data.sizes, data.transform)
        return made

    def logits(self, view: PageView, training: bool = False) -> tf.Tensor:
        """Scores candidates.

        Args:
            view: I candidates and what they are judged by.
            training: Whether dropout works.

        Returns:
            [I, H] float32, one column a head.
        """
        raise NotImplementedError

    def auxiliary_logits(self, view: PageView, training: bool = False) -> tf.Tensor | None:
        """Scores candidates by a unit that learns by the same loss, and that no request asks.

        Args:
            view: I candidates and what they are judged by.
            training: Whether dropout works.

        Returns:
            [I, H] float32, one column a head; None without such a unit.
        """
        del view, training
        return None

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Computes the weighted binary cross-entropy over the candidates and the heads.

        That of `auxiliary_logits` is added to it.

        Args:
            inputs: What `page_batches` gives, B pages.
            training: Whether dropout works.

        Returns:
            Scalar float32.
        """
        return self.share_of_loss(*self.weighted_loss(inputs, training))

    def weighted_loss(
        self, inputs: Mapping[str, tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the loss of `compute_loss` and the weight of its candidates, scalars float32."""
        there = candidate_mask(inputs)
        view = self.features(inputs, training=training)
        bias = tf.zeros([])
        if self.position_bias is not None:
            position = tf.boolean_mask(inputs[b.CANDIDATE_POSITION], there)
            bias = self.position_bias(tf.clip_by_value(position + 1, 0, _POSITIONS))  # [I, H]
        labels = tf.boolean_mask(inputs[b.LABEL], there)
        logits = self.logits(view, training) + bias  # [I, H]
        losses = self.task(labels=labels, predictions=logits)  # [I], the mean over the heads
        auxiliary = self.auxiliary_logits(view, training)
        if auxiliary is not None:
            losses += self.task(labels=labels, predictions=auxiliary + bias)
        labelled = tf.reduce_any(labels > 0.0, axis=1)
        weights = tf.where(labelled, 1.0, 1.0 / self.model.negative_rate)  # [I]
        total = tf.reduce_sum(weights)
        return tf.math.divide_no_nan(tf.reduce_sum(losses * weights), total), total

    @tf.autograph.experimental.do_not_convert
    def score(
        self,
        batch: Mapping[str, tf.Tensor],
        features: Mapping[str, tf.Tensor] | None = None,
    ) -> tf.Tensor:
        """Scores the candidates of requests, without position and calibration.

        Args:
            batch: Pages by name (`models.input.batch`), B rows of C candidates.
            features: Features of the I candidates there are; looked up when None.

        Returns:
            [I, H] float32, logits.
        """
        return self.logits(self.features(batch, features))

    def probabilities(
        self,
        batch: Mapping[str, tf.Tensor],
        features: Mapping[str, tf.Tensor] | None = None,
    ) -> tf.Tensor:
        """Returns calibrated probabilities, [B, C, H] float32; 0 beyond a page's candidates."""
        logits = self.score(batch, features) * self.slope + self.offset
        where = tf.where(candidate_mask(batch))
        shape = tf.concat([tf.shape(batch[b.CANDIDATE_ENTITY], tf.int64), [len(self.heads)]], 0)
        return tf.scatter_nd(where, tf.sigmoid(logits), shape)

    def training_batches(self, data: TrainingData, part: InputPart) -> tf.data.Dataset:
        """Makes batches of pages; see the base class."""
        return page_batches(
            data.train_files, data.spec, self.pages, self.config.input, self.config.seed, part
        )

    def count_batches(self, data: TrainingData) -> int:
        """Counts the batches of an epoch.

        Raises:
            ValueError: The log has no page to learn from.
        """
        number = count_pages(data.train_files, data.spec, self.pages)
        if not number:
            raise ValueError(
                f"Expected pages in the training split, found none for `label.source: "
                f"{self.config.label.source}`. A log without impressions has `values` or `events`."
            )
        self.targets_per_epoch = float(number)
        return -(-number // self.config.input.batch_size)

    def validation(self, data: TrainingData) -> Evaluation:
        """Makes what measures the model on held-out pages; see the base class."""
        batches = evaluation_pages(data.validation_files, data.spec, self.pages)
        return PageEvaluation(self, held_in_memory(batches.take(self.config.validation.batches)))

    def finish(self, evaluation: Evaluation) -> Metrics:
        """Calibrates the scores on the validation split."""
        assert isinstance(evaluation, PageEvaluation)
        if self.model.calibrate:
            logits, labels, _ = evaluation.scored()
            found = [platt_scaling(*pair) for pair in zip(logits.T, labels.T, strict=True)]
            self.slope.assign([slope for slope, _ in found])
            self.offset.assign([offset for _, offset in found])
            logging.info("calibration: slope and offset of the heads %s", found)
        return evaluation.evaluate()

    def export(self, tft_layer: tf.keras.layers.Layer, path: str) -> None:
        """Writes the ranker; see the base class."""
        save_ranker(self, tft_layer, path)


class PageEvaluation:
    """Measures a model on held-out pages.

    Args:
        model: Scores candidates.
        batches: Of `models.input.page_batches.evaluation_pages`; read again in each evaluation.

    Attributes:
        model: What is measured.
        batches: The pages.

    Raises:
        ValueError: There is no page.
    """

    def __init__(self, model: RankingModel, batches: Iterable[Mapping[str, tf.Tensor]]) -> None:
        if next(iter(batches), None) is None:
            raise ValueError(
                "Expected held-out pages, found none. Move `validation_start`, or choose another "
                "`label.source`."
            )
        self.model = model
        self.batches = batches
        self._score: Callable[..., tf.Tensor] = tf.function(model.score, reduce_retracing=True)

    def evaluate(self) -> Metrics:
        """Returns `auc`, `gauc`, `log_loss` and `calibration`; `auc/<head>` of further heads."""
        return self.metrics(*self.scored())

    def metrics(self, logits: np.ndarray, labels: np.ndarray, users: np.ndarray) -> Metrics:
        """Returns the metrics of candidates, given as by `scored`."""
        metrics: Metrics = {"candidates": float(len(labels))}
        slope, offset = self.model.slope.numpy(), self.model.offset.numpy()
        for index, head in enumerate(self.model.heads):
            p = 1.0 / (1.0 + np.exp(-(logits[:, index] * slope[index] + offset[index])))
            label, end = labels[:, index], "" if index == 0 else f"/{head}"
            metrics[f"auc{end}"] = auc(label, logits[:, index])
            metrics[f"gauc{end}"] = grouped_auc(label, logits[:, index], users)
            metrics[f"log_loss{end}"] = log_loss(label, p)
            metrics[f"calibration{end}"] = calibration(label, p)
        return metrics

    def report(self) -> dict[str, Any]:
        """Returns nothing more."""
        return {}

    def run_one(self) -> None:
        """Scores one page, which makes the weights of a model that has none yet."""
        batch = {name: values[:1] for name, values in next(iter(self.batches)).items()}
        # Not the metric of the loss, which is added up by replicas, and none is at work here.
        self.model.weighted_loss(batch | {b.CANDIDATE_POSITION: batch[b.CANDIDATE_ENTITY]})

    def scored(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns logits [n, H], labels [n, H] and users [n] of all candidates."""
        logits, labels, users = [], [], []
        for batch in self.batches:
            there = candidate_mask(batch)
            given = {k: values for k, values in batch.items() if k not in (b.LABEL, b.USER)}
            logits.append(self._score(given).numpy())
            labels.append(tf.boolean_mask(batch[b.LABEL], there).numpy())
            users.append(tf.gather(batch[b.USER], tf.where(there)[:, 0]).numpy())
        return np.concatenate(logits), np.concatenate(labels), np.concatenate(users)


def windows_of(config: RankingModelConfig) -> WindowSpec:
    """Returns what the windows hold that a ranking model reads."""
    return WindowSpec(
        window=config.window,
        use_time=config.use_time,
        attributes=config.max_user_attributes if config.use_user_attributes else 0,
        query_tokens=config.max_query_tokens if config.use_query else 0,
        use_value=config.use_event_values,
        event_query_tokens=config.max_query_tokens if config.use_event_query else 0,
    )
