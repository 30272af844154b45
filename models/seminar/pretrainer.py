"""The pretraining search unit: SEMINAR's embeddings and attention, before they rank."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.config import PretrainingTrainerConfig
from models.export.requests import row_spec
from models.export.requests import save_signatures
from models.input import batch as b
from models.input.catalogue import candidate_features
from models.input.negatives import Items
from models.input.page_batches import evaluation_pages
from models.input.timeline_files import Batch
from models.input.timeline_files import held_in_memory
from models.layers.mlp import MLP
from models.ranking.features import PageView
from models.seminar.config import SeminarPretrainingConfig
from models.seminar.pairs import PairModel
from models.seminar.pretraining import align_channels
from models.seminar.pretraining import other_events
from models.seminar.pretraining import query_relevance
from models.seminar.pretraining import tell_next_pair
from models.seminar.pretraining import weighted_sum
from models.training.data import TrainingData
from models.training.learner import Evaluation
from models.training.learner import Metrics

TOTAL = "pretraining_loss"


class SeminarPretrainer(PairModel):
    """Learns what SEMINAR starts from: embeddings, projections and attention.

        L = w_n L_next + w_a L_alignment + w_r L_relevance

    A page is an event with the history before it, beside random items. An end token stands
    before the newest pair, so that no history is empty, and what asks for the next pair is an
    event like the others. The head of the next pair, MLP([z ; pair]), is left behind.
    """

    model: SeminarPretrainingConfig
    config: PretrainingTrainerConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if self.model.losses.next_pair.use:
            self.end = self.add_weight(
                name="end",
                shape=[self.model.dim],
                initializer=tf.keras.initializers.RandomNormal(stddev=0.05),
            )
            self.head = MLP(self.model.hidden_units, 1, self.model.dropout, name="next_pair")

    def compute_loss(self, inputs: Batch, training: bool = False) -> tf.Tensor:
        """Computes the weighted sum of the losses.

        Args:
            inputs: What `page_batches` gives for `label.source: events`, P pages.
            training: Whether dropout works.

        Returns:
            Scalar float32.
        """
        seed = tf.stack([tf.constant(self.config.seed, tf.int64), self.step])
        losses = self.losses(inputs, seed, training)
        rows = tf.shape(inputs[b.HISTORY_LENGTH])[0]
        return self.share_of_loss(weighted_sum(losses, self.model.losses), rows)

    @tf.autograph.experimental.do_not_convert
    def losses(
        self, inputs: Batch, seed: tf.Tensor, training: bool = False
    ) -> dict[str, tf.Tensor]:
        """Computes each loss that is used.

        Args:
            inputs: Pages by name (`models.input.batch`), P of them with 1 + n candidates each,
                the one that followed first.
            seed: [2] int64, of the events that negatives are made of.
            training: Whether dropout works.

        Returns:
            Scalars by their names in the configuration, without their weights.
        """
        uses, losses = self.model.losses, {}
        view = self.features(inputs, training=training)
        if uses.next_pair.use:
            following = self.following(view, seed)
            interest = self.follow_end(view, self.pair(*following, self.compared))
            read = tf.concat([interest, self.pair(*following)], axis=1)
            logits = self.head(read, training=training)
            losses["next_pair"] = tell_next_pair(tf.reshape(logits, [-1, self.candidates]))
        if uses.alignment.use:
            shown = tf.concat([view.ids, tf.reshape(view.events, [-1])], axis=0)
            distinct = tf.unique(tf.boolean_mask(shown, shown > 0)).y
            losses["alignment"] = align_channels(self.embed_channels(distinct), uses.alignment)
        if uses.relevance.use and self.has_queries:
            queries = self.query_projection(view.event_query)
            others = other_events(view.mask, uses.relevance.negatives, seed)
            losses["relevance"] = query_relevance(
                queries, view.items, view.mask, others, uses.relevance
            )
        return losses

    @property
    def candidates(self) -> int:
        """Candidates of a page: what followed, and what did not."""
        return 1 + self.config.negatives

    def following(self, view: PageView, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns items and projected queries of candidates, [I, d] float32; see `target_parts`.

        A pair that did not follow is of a random item and the query of another event of the
        history, so that neither alone tells it.
        """
        if not self.has_queries or view.query is None:
            return self.target_parts(view)
        pages, dim = tf.shape(view.mask)[0], self.model.dim
        length = tf.reduce_sum(tf.cast(view.mask > 0.0, tf.int32), axis=1, keepdims=True)
        drawn = tf.random.stateless_uniform([pages, self.config.negatives], seed + 1)
        event = tf.cast(drawn * tf.cast(length, tf.float32), tf.int32)  # 0 where there is none
        other = tf.gather(view.event_query, event, batch_dims=1)  # [P, n, d]
        queries = tf.concat([view.query[:, None], other], axis=1)  # [P, 1 + n, d]
        return view.candidate, self.query_projection(tf.reshape(queries, [-1, dim]))

    def follow_end(self, view: PageView, following: tf.Tensor) -> tf.Tensor:
        """Attends to the events behind the end token.

        Args:
            view: P histories of L events.
            following: [I, d] float32, the pairs of candidates as they are compared.

        Returns:
            [I, d] float32.
        """
        rows = tf.shape(view.mask)[0]
        end = tf.broadcast_to(self.end, [rows, 1, self.model.dim])
        parts = self.event_parts(view)
        keys = tf.concat([self.compared(end), self.pair(*parts, self.compared)], axis=1)
        values = tf.concat([end, self.pair(*parts)], axis=1)
        mask = tf.concat([tf.ones([rows, 1]), view.mask], axis=1)
        if view.about is None:
            return self.attention(following, keys, mask, view.row, values)
        about = tf.pad(view.about, [[0, 0], [1, 0], [0, 0]])
        return self.attention(following, keys, mask, view.row, values + about, self.beside(about))

    def validation(self, data: TrainingData) -> Evaluation:
        """Makes what measures the losses on held-out pages; see the base class."""
        batches = evaluation_pages(data.validation_files, data.spec, self.pages)
        return PretrainingEvaluation(self, batches.take(self.config.validation.batches))

    def finish(self, evaluation: Evaluation) -> Metrics:
        """Returns nothing: there are no scores to calibrate."""
        del evaluation
        return {}

    def export(self, tft_layer: tf.keras.layers.Layer, path: str) -> None:
        """Writes a SavedModel that embeds items.

        `serving_default`: `examples` [B] string, raw serialised catalogue rows -> `embedding`
        [B, d] and `channels` [B, M, d], what is fused into it.
        """
        items = self.channels
        spec = row_spec(items.widths)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        @tf.autograph.experimental.do_not_convert
        def embed(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            rows = tft_layer(tf.io.parse_example(examples, spec))
            features = candidate_features(rows, items.widths)
            ids, described = features["entity"], items.describe(features)
            channels = items.embed_channels(ids, described)
            return {"embedding": items.combine(ids, described), "channels": channels}

        save_signatures({"serving_default": embed}, self.saved_weights(), tft_layer, path)


class PretrainingEvaluation:
    """Measures the losses on held-out pages: what was clicked there beside random items.

    Args:
        model: The model.
        batches: Of `models.input.page_batches.evaluation_pages`.

    Raises:
        ValueError: There is no page with a positive candidate.
    """

    def __init__(self, model: SeminarPretrainer, batches: tf.data.Dataset) -> None:
        self._model = model
        items = model.pages.items
        assert items is not None

        @tf.autograph.experimental.do_not_convert
        def follow(number: tf.Tensor, batch: Batch) -> dict[str, Any]:
            seed = tf.stack([tf.constant(model.config.seed, tf.int64), number])
            return what_followed(batch, items, model.config.negatives, seed)

        followed = batches.enumerate().map(follow, num_parallel_calls=tf.data.AUTOTUNE)
        self.batches = held_in_memory(
            followed.filter(lambda batch: tf.size(batch[b.HISTORY_LENGTH]) > 0)
        )
        if next(iter(self.batches), None) is None:
            raise ValueError(
                "Expected held-out pages with a positive candidate, found none. Move "
                "`validation_start`, or choose another `label.source`."
            )
        self._losses = tf.function(model.losses, reduce_retracing=True)

    def evaluate(self) -> Metrics:
        """Returns `pretraining_loss`, the weighted sum, and each loss that is used."""
        sums: dict[str, float] = {}
        pages = 0
        for number, batch in enumerate(self.batches):
            seed = tf.constant([self._model.config.seed, number], tf.int64)
            losses = self._losses(batch, seed)
            losses[TOTAL] = weighted_sum(losses, self._model.model.losses)
            size = int(tf.shape(batch[b.HISTORY_LENGTH])[0])
            pages += size
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + size * float(loss)
        return {name: total / pages for name, total in sums.items()}

    def report(self) -> dict[str, Any]:
        """Returns nothing more."""
        return {}

    def run_one(self) -> None:
        """Computes the losses of one page, which makes the weights of a model without any."""
        batch = {name: values[:1] for name, values in next(iter(self.batches)).items()}
        self._model.losses(batch, tf.zeros([2], tf.int64))  # not the metric, which replicas add up


def what_followed(batch: Batch, items: Items, negatives: int, seed: tf.Tensor) -> dict[str, Any]:
    """Makes of held-out pages those of training: one positive candidate beside random items.

    Args:
        batch: B pages with labels.
        items: Negatives are drawn from these.
        negatives: How many.
        seed: [2] int64.

    Returns:
        The pages that have a positive candidate, each with the first of them.
    """
    positive = batch[b.LABEL][:, :, 0] > 0.0
    chosen = tf.reduce_any(positive, axis=1)
    pages = {name: tf.boolean_mask(values, chosen) for name, values in batch.items()}
    first = tf.argmax(tf.cast(tf.boolean_mask(positive, chosen), tf.int32), axis=1)
    own = tf.gather(pages[b.CANDIDATE_ENTITY], first[:, None], batch_dims=1)  # [P, 1]
    drawn = items.draw(pages[b.REQUEST_TIME], negatives, seed)
    candidates = tf.concat([own, drawn], axis=1)
    kept = {name: values for name, values in pages.items() if name not in (b.LABEL, b.USER)}
    return kept | {
        b.CANDIDATE_ENTITY: candidates,
        b.CANDIDATE_LENGTH: tf.fill([tf.shape(own)[0]], tf.constant(1 + negatives, tf.int64)),
    }
