"""COURIER: images of clicked things rebuild the image that is clicked next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from models.config import RepresentationTrainerConfig
from models.courier import page_views as v
from models.courier.config import CourierConfig
from models.courier.encoder import ImageEncoder
from models.courier.encoder import standardise
from models.courier.evaluation import ImageEvaluation
from models.courier.evaluation import require_spread
from models.courier.export import save_encoder
from models.courier.images import ImageTable
from models.courier.images import load_images
from models.courier.losses import contrast
from models.courier.losses import mean_of
from models.courier.objectives import co_click_losses
from models.courier.objectives import simclr_losses
from models.courier.views import view_batches
from models.input import batch as b
from models.input.negatives import Items
from models.input.page_batches import PageSpec
from models.input.page_batches import evaluation_pages
from models.input.page_batches import page_batches
from models.input.windows import WindowSpec
from models.layers.mlp import MLP
from models.layers.multi_head_target_attention import MultiHeadTargetAttention
from models.training.data import TrainingData
from models.training.learner import Evaluation
from models.training.learner import Learner
from models.training.learner import Metrics
from models.training.replicas import InputPart
from models.training.replicas import share_of_mean

_STATISTICS = 4_096  # images whose features are standardised
Batch = Mapping[str, tf.Tensor]


class Courier(Learner):
    """Learns an image encoder from which images users clicked after which.

        h[k] = E(history image k),  p[j] = E(shown image j),  r[j] = attention(p[j], h, h)
        L    = w_p L_contrastive(p, r) + w_s L_contrastive(h[1], attention(h[1], h[2..], h[2..]))
               + w_c BCE(MLP([r ; p]), click)

    An image is all that is read, neither ids nor texts. The reconstruction knows its target, as
    the query of the attention: what has to be found in the history is what goes with it.

    Args:
        config: The model and how it is trained.
        images: The catalogue's images.
        pages: What pages hold.
    """

    config: RepresentationTrainerConfig

    def __init__(
        self, config: RepresentationTrainerConfig, images: ImageTable, pages: PageSpec
    ) -> None:
        super().__init__(config, name=config.model.family)
        self.model: CourierConfig = config.model
        self.images = images
        self.pages = pages
        self.learns = self.model.objective != "none"
        self._measured: Metrics = {}
        shape = (self.model.height, self.model.width)
        self.encoder = ImageEncoder(self.model.backbone, self.model.dim, shape)
        self._fit_statistics()
        # Other objectives train no attention; similarities are measured of all.
        rebuilds = self.model.objective in ("courier", "none")
        attends = rebuilds and self.model.rebuild == "attention"
        self.attention = self._make_attention() if attends else None
        self.head = None
        if self.model.objective == "courier" and self.model.losses.click:
            self.head = MLP((2 * self.model.dim,), 1, name="click")

    @classmethod
    def of(cls, config: RepresentationTrainerConfig, data: TrainingData) -> Courier:
        """Makes the model for what it will learn from."""
        model = config.model
        given = (data.catalogue_files, data.spec, data.sizes.entity, model.height, model.width)
        images = load_images(*given, config.candidate_types)
        label = config.label
        types = data.event_types(label.events) if label.source != "impressions" else None
        # Random negatives of a log without impressions are of what has an image.
        items = Items.of(np.flatnonzero(images.row))
        return cls(config, images, PageSpec(WindowSpec(model.window), label, types, items=items))

    def _make_attention(self) -> MultiHeadTargetAttention:
        """Makes the attention, at first the mean of what is attended to."""
        # The history is no longer than K: there is nothing to search.
        attention = MultiHeadTargetAttention(self.model.heads, self.model.history, name="attention")
        attention.build([None, self.model.dim])
        for layer in (attention.value, attention.output_projection):
            layer.kernel.assign(np.eye(self.model.dim))
        return attention

    def _fit_statistics(self) -> None:
        """Standardises features by those at the start; keeps them where they stay as they are."""
        chosen = np.sort(np.random.default_rng(0).permutation(len(self.images))[:_STATISTICS])
        self._features: np.ndarray | None = None
        if self.model.backbone.frozen:
            self._features = self.encoder.features_of(self.images.pixels)
            sample = self._features[1:][chosen]
        else:
            sample = self.encoder.features_of(self.images.pixels[1:][chosen])
        self.encoder.fit_statistics(sample)

    @property
    def inputs_of_encoder(self) -> np.ndarray:
        """What the encoder reads of each image: pixels, or the features of a frozen backbone."""
        return self.images.pixels if self._features is None else self._features

    def rebuild(self, inputs: Batch, vectors: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
        """Rebuilds shown images from what was clicked before them.

        Args:
            inputs: A batch of page views of n images.
            vectors: [n, d] float32, of the images.
            chosen: [A] int, which of the P shown images.

        Returns:
            [A, d] float32; zeros where there is no history.
        """
        shown = tf.gather(vectors, tf.gather(inputs[v.SHOWN], chosen))
        page = tf.gather(inputs[v.SHOWN_PAGE], chosen)
        history = tf.gather(vectors, inputs[v.HISTORY])  # [B, T, d]
        return self._rebuild(shown, history, _mask(inputs[v.HISTORY_ROW]), page)

    def _rebuild(
        self, target: tf.Tensor, history: tf.Tensor, mask: tf.Tensor, page: tf.Tensor
    ) -> tf.Tensor:
        """Rebuilds [A, d] targets of pages [A] from [B, T, d] histories with [B, T] masks: [A, d].

        Either by attention, or as the mean of unit vectors, of which the cosines are what
        `similarity` reads.
        """
        if self.attention is not None:
            return self.attention(target, history, mask, page, whole=True)
        total = tf.reduce_sum(tf.math.l2_normalize(history, axis=2) * mask[..., None], axis=1)
        mean = tf.math.divide_no_nan(total, tf.reduce_sum(mask, axis=1, keepdims=True))
        return tf.gather(mean, page)

    @tf.autograph.experimental.do_not_convert
    def compute_loss(self, inputs: Batch, training: bool = False) -> tf.Tensor:
        """Computes the weighted sum of the losses.

        Args:
            inputs: What `training_batches` gives.
            training: Whether the step is one of training.

        Returns:
            Scalar float32, this replica's share.
        """
        del training
        losses = self.losses(inputs)
        weights = self.model.losses.model_dump() if self.model.objective == "courier" else {}
        share, mean = tf.zeros([]), tf.zeros([])
        for name, values in losses.items():
            one = weights.get(name, 1.0) * mean_of(values)
            share, mean = share + share_of_mean(one, tf.size(values)), mean + one
        self.mean_loss.update_state(mean)
        return share

    def losses(self, inputs: Batch) -> dict[str, tf.Tensor]:
        """Computes each loss that is used, one value for each thing that is told: [..] by name."""
        objective, temperature = self.model.objective, self.model.temperature
        if objective == "simclr":
            return {"views": simclr_losses(self.encoder, inputs, temperature)}
        vectors = standardise(self.encoder.raw_vectors(inputs[v.IMAGES]), inputs[v.SHOWN])
        if objective == "co_click":
            return {"co_click": co_click_losses(inputs, vectors, temperature)}
        made = {
            "contrastive": self.contrastive,
            "click_sequence": self.click_sequence,
            "click": self.click,
        }
        return {
            name: loss(inputs, vectors)
            for name, loss in made.items()
            if getattr(self.model.losses, name)
        }

    def contrastive(self, inputs: Batch, vectors: tf.Tensor) -> tf.Tensor:
        """Tells clicked images by their reconstruction from others that were shown: [A].

        Images without anything before them are negatives alone.
        """
        before = tf.gather(inputs[v.HISTORY_ROW][:, 0], inputs[v.SHOWN_PAGE]) > 0
        clicked = tf.cast(tf.where(inputs[v.CLICKED] & before)[:, 0], tf.int32)
        rebuilt = self.rebuild(inputs, vectors, clicked)
        shown = tf.gather(vectors, inputs[v.SHOWN])
        given = (rebuilt, shown, inputs[v.SHOWN_ROW], clicked, self.model.temperature)
        if self.model.negatives == "batch":
            return contrast(*given)
        page = inputs[v.SHOWN_PAGE]
        passed_over = tf.equal(tf.gather(page, clicked)[:, None], page) & ~inputs[v.CLICKED]
        return contrast(*given, passed_over)

    def click_sequence(self, inputs: Batch, vectors: tf.Tensor) -> tf.Tensor:
        """Tells the newest clicked image by its reconstruction from the earlier ones: [A]."""
        rows = inputs[v.HISTORY_ROW]
        number = tf.shape(rows)[0]
        history = tf.gather(vectors, inputs[v.HISTORY])  # [B, T, d]
        newest = history[:, 0]
        mask = _mask(rows)[:, 1:]
        page = tf.range(number, dtype=tf.int64)
        rebuilt = self._rebuild(newest, history[:, 1:], mask, page)
        two = tf.cast(tf.where(tf.reduce_any(mask > 0.0, axis=1))[:, 0], tf.int32)
        # Blank rows of pages without a history are no negatives of anything.
        there = tf.cast(tf.where(rows[:, 0] > 0)[:, 0], tf.int32)  # [t]
        place = tf.scatter_nd(there[:, None], tf.range(tf.size(there)), [number])
        return contrast(
            tf.gather(rebuilt, two),
            tf.gather(newest, there),
            tf.gather(rows[:, 0], there),
            tf.gather(place, two),
            self.model.temperature,
        )

    def click(self, inputs: Batch, vectors: tf.Tensor) -> tf.Tensor:
        """Tells which images are clicked, by their vectors and reconstructions: [P]."""
        assert self.head is not None
        every = tf.range(tf.size(inputs[v.SHOWN]))
        rebuilt = self.rebuild(inputs, vectors, every)
        shown = tf.gather(vectors, inputs[v.SHOWN])
        logits = self.head(tf.concat([rebuilt, shown], axis=1))[:, 0]
        label = tf.cast(inputs[v.CLICKED], tf.float32)
        return tf.nn.sigmoid_cross_entropy_with_logits(label, logits)

    def training_batches(self, data: TrainingData, part: InputPart) -> tf.data.Dataset:
        """Makes batches of page views with clicks, or of views of images; see the base class."""
        if self.model.objective == "simclr":
            size = self.config.input.batch_size
            return view_batches(self.images, size, self.config.seed, part)
        table = self.inputs_of_encoder
        with tf.device("CPU"):  # images of a large catalogue are more than a GPU holds
            row, inputs = tf.constant(self.images.row), tf.constant(table)

        @tf.autograph.experimental.do_not_convert
        def views(batch: Batch) -> dict[str, tf.Tensor]:
            def look_up(rows: tf.Tensor) -> tf.Tensor:
                return tf.gather(inputs, rows)

            return v.page_views(batch, row, self.model.history, look_up)

        return self._pages(data, part).map(views, num_parallel_calls=2).prefetch(2)

    def _pages(self, data: TrainingData, part: InputPart) -> tf.data.Dataset:
        """Makes batches of the pages that there is something to learn from."""
        given = (data.train_files, data.spec, self.pages, self.config.input, self.config.seed)
        with tf.device("CPU"):
            row = tf.constant(self.images.row)
        # What was shown and not clicked is a negative of other pages' clicks, and told by the head.
        on_its_own = self.model.negatives == "page" and not self.model.losses.click
        clicked = self.model.objective != "courier" or on_its_own

        @tf.autograph.experimental.do_not_convert
        def kept(batch: Batch) -> dict[str, tf.Tensor]:
            return v.pages_to_learn(batch, row, self.model.history, clicked)

        pages = page_batches(*given, part).map(kept, num_parallel_calls=2)
        return pages.rebatch(max(1, self.config.input.batch_size // part.replicas))

    def count_batches(self, data: TrainingData) -> int:
        """Counts the batches of an epoch.

        Raises:
            ValueError: No page of the log has a clicked image with one before it.
        """
        if self.model.objective == "simclr":
            self.targets_per_epoch = float(len(self.images))
            return math.ceil(len(self.images) / self.config.input.batch_size)
        sizes, clicks = [], 0
        row = tf.constant(self.images.row)
        for batch in self._pages(data, InputPart()):
            sizes.append(int(tf.shape(batch[b.LABEL])[0]))
            clicks += int(tf.math.count_nonzero(v.clicked_images(batch, row)))
        self.targets_per_epoch = float(sum(sizes))
        if not clicks:
            raise ValueError(
                "Expected pages on which an image was clicked, with a clicked image before them; "
                "found none. Check `candidate_types`, `target_events` and the images of the log."
            )
        return len(sizes)

    def validation(self, data: TrainingData) -> Evaluation:
        """Makes what measures similarities on held-out pages; see the base class."""
        batches = evaluation_pages(data.validation_files, data.spec, self.pages)
        return ImageEvaluation(self, list(batches.take(self.config.validation.batches)))

    def finish(self, evaluation: Evaluation) -> Metrics:
        """Measures the best epoch again, which sets centre and spread of its vectors."""
        measured = evaluation.evaluate()
        self._measured = measured
        return measured

    def saved_weights(self) -> list[tf.Variable]:
        """Returns what a SavedModel keeps: the encoder alone."""
        return list(self.encoder.variables)

    def export(self, tft_layer: Any, path: str) -> None:
        """Writes the encoder, which reads no features of Transform.

        Raises:
            ValueError: It was trained, and its vectors have collapsed.
        """
        del tft_layer
        if self._measured:
            require_spread(self._measured, self.config.validation)
        save_encoder(self.encoder, self.model, path)


def _mask(rows: tf.Tensor) -> tf.Tensor:
    """Returns which of [B, T] rows are images, float32."""
    return tf.cast(rows > 0, tf.float32)
