"""The sequence recommender."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.config import RetrievalTrainerConfig
from models.input import batch as b
from models.input.bucketing import Buckets
from models.input.catalogue import CatalogueTable
from models.input.sequence_batches import SequenceSpec
from models.input.sequence_batches import plan_buckets
from models.input.sequence_batches import sequence_batches
from models.input.target_rule import TargetRule
from models.input.timelines import is_one_of
from models.input.vocabulary_sizes import VocabularySizes
from models.input.windows import ALL
from models.input.windows import WindowSpec
from models.layers.mixture import Interests
from models.layers.mixture import Queries
from models.retrieval.model import RetrievalModel
from models.sequence.config import SequenceConfig
from models.sequence.encoder import Encoder
from models.tasks.excluded import earlier_columns
from models.tasks.retrieval_loss import Candidates
from models.training.data import TrainingData
from models.training.replicas import InputPart

_READ = (  # by the encoder, besides the items' vectors
    b.SEQUENCE_TYPE,
    b.SEQUENCE_LENGTH,
    b.SEQUENCE_MASKED,
    b.SEQUENCE_FORWARDS,
    b.SEQUENCE_AGE,
    b.SEQUENCE_REQUEST_AGE,
    b.USER_ATTRIBUTES,
)


class SequenceModel(RetrievalModel):
    """A transformer over the timeline and a candidate tower over the catalogue.

        queries = scale(encoder(items of the sequence)),   score = query . candidate_tower(item)

    The vector at a position of the sequence is the query that follows the event
    there: training finds the next event at every position at once (Kang & McAuley 2018), or
    masked events from both sides (Sun et al. 2019). With several interests it becomes a mixture
    of queries (`models.layers.mixture.Interests`). A sequence begins with a start token, whose
    vector finds a user's first event and answers users without history.
    See `models.retrieval.model.RetrievalModel` for the arguments.
    """

    towers: SequenceConfig
    _buckets: Buckets | None = None

    def __init__(
        self,
        config: RetrievalTrainerConfig,
        sizes: VocabularySizes,
        table: CatalogueTable,
        counts: np.ndarray,
        seen_types: tuple[int, ...] | None = (),
    ) -> None:
        super().__init__(config, sizes, table, counts, seen_types)
        self._causal = self.towers.objective == "next"
        length = self.longest_sequence
        self.encoder = Encoder(
            self.towers.dim, length, self.towers.encoder, sizes, self._causal, config.precision
        )
        self._compiled = tf.function(self.encoder, jit_compile=True)
        self.interests = self.make_interests()

    def make_interests(self) -> Interests | None:
        """Makes what turns the encoder's vector into several; None where one is the query."""
        number = self.towers.interests
        return Interests(number, name="interests") if number > 1 else None

    @property
    def longest_sequence(self) -> int:
        """The positions of the longest sequence that the encoder reads."""
        return self.sequence_spec.longest

    @tf.autograph.experimental.do_not_convert
    def embed_queries(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> Queries:
        """Embeds requests: what follows the newest event of each window; see the base class."""
        sequence = sequences_of_windows(batch, mask_next=not self._causal)
        vectors, position = self.history_vectors(sequence[b.SEQUENCE_ENTITY])
        encoded = self._encode(sequence, tf.gather(vectors, position), training)  # [B, T, d]
        return self._queries(tf.boolean_mask(encoded, sequence[b.SEQUENCE_QUERY]))

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Computes the loss of finding each query's target, P of them in B sequences.

        Args:
            inputs: What `training_batches` gives.
            training: Whether dropout works and ids are dropped.

        Returns:
            Scalar float32.
        """
        asked = inputs[b.SEQUENCE_QUERY]  # [B, T]
        target = tf.boolean_mask(inputs[b.SEQUENCE_TARGET], asked)  # [P]
        items = self.batch_items(target, inputs[b.SEQUENCE_ENTITY])
        encoded = self._encode(inputs, tf.gather(items.history, items.position), training)
        query = self._queries(tf.boolean_mask(encoded, asked))
        where = tf.where(asked)  # [P, 2]
        excluded = self.excluded(inputs, items.position, items.candidates, where)
        return self.loss_of_batch(query, items, excluded, training)

    def _queries(self, encoded: tf.Tensor) -> Queries:
        """Makes queries of the encoder's vectors, [P, d]."""
        return self.as_query(encoded if self.interests is None else self.interests(encoded))

    def _encode(
        self, sequence: Mapping[str, tf.Tensor], items: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """Encodes sequences whose items have vectors [B, T, d]: [B, T, d] float32."""
        read = {name: sequence[name] for name in _READ if name in sequence}
        # Requests are as long as they are; each length would be compiled anew.
        encode = self._compiled if training and self.towers.xla else self.encoder
        return encode(read, items, training=training)

    def excluded(
        self,
        inputs: Mapping[str, tf.Tensor],
        position: tf.Tensor,
        candidates: Candidates,
        where: tf.Tensor,
    ) -> tf.RaggedTensor | None:
        """Excludes the events of a sequence up to a query's place, the seen types of them.

        Args:
            inputs: What `training_batches` gives.
            position: [B, T] int32, which of the distinct items each event has.
            candidates: The first of these, and the labels of P queries.
            where: [P, 2] int64, row and place of each query.

        Returns:
            [P, (columns)] int32; None where nothing is excluded.
        """
        if not self.excludes_history:
            return None
        seen = inputs[b.SEQUENCE_ENTITY] > 0
        if self._seen_types:
            seen &= is_one_of(inputs[b.SEQUENCE_TYPE], self._seen_types)
        seen &= position < tf.size(candidates.ids)
        return earlier_columns(position, seen, where[:, 0], where[:, 1], candidates.labels)

    @property
    def sequence_spec(self) -> SequenceSpec:
        """Returns the contents of training sequences."""
        config, encoder = self.towers.input, self.towers.encoder
        return SequenceSpec(
            length=config.length,
            every_window=config.windows == "all",
            overlap=config.overlap,
            length_multiple=config.length_multiple,
            use_time=encoder.use_time,
            attributes=encoder.attributes,
            mask_share=0.0 if self._causal else self.towers.mask_share,
        )

    def window_spec(self, training: bool) -> WindowSpec:
        """Returns what the windows hold that requests are embedded from; see the base class."""
        del training
        encoder = self.towers.encoder
        return WindowSpec(
            window=self.towers.input.length,
            seen=ALL if self._seen_types != () else 0,
            use_time=encoder.use_time,
            attributes=encoder.attributes,
            seen_types=self._seen_types or None,
        )

    def training_batches(self, data: TrainingData, part: InputPart) -> tf.data.Dataset:
        """Makes batches of sequences; see the base class."""
        return sequence_batches(
            data.train_files,
            data.spec,
            self.sequence_spec,
            TargetRule.of(self.config, data),
            self._plan(data),
            self.config.input,
            self.config.seed,
            part,
        )

    def count_batches(self, data: TrainingData) -> int:
        """Counts the batches of an epoch by the lengths of timelines; see the base class."""
        return self._plan(data).batches

    def _plan(self, data: TrainingData) -> Buckets:
        if self._buckets is None:  # by reading everything, so once
            rule, size = TargetRule.of(self.config, data), self.config.input.batch_size
            self._buckets = plan_buckets(
                data.train_files, data.spec, self.sequence_spec, rule, size
            )
        return self._buckets


def sequences_of_windows(
    batch: Mapping[str, tf.Tensor], mask_next: bool = False
) -> dict[str, tf.Tensor]:
    """Turns windows, newest first, into sequences, oldest first, with one query each.

    Sequences are as long as the longest of the batch: attention over the rest of a
    window would cost most of a short request's time. The query is at the last position, of an
    empty window at the start token.

    Args:
        batch: Windows by name (`models.input.batch`), B rows of T events.
        mask_next: Whether a masked event follows, whose position the query has.

    Returns:
        Sequences by name, B rows of the start, at most T events, and the masked one.
    """
    lengths = batch[b.HISTORY_LENGTH]
    longest = tf.maximum(tf.reduce_max(lengths), 1)
    around = [[0, 0], [1, int(mask_next)]]

    def turn(values: tf.Tensor) -> tf.Tensor:
        newest = tf.where(tf.sequence_mask(lengths, longest), values[:, :longest], 0)
        return tf.reverse_sequence(newest, lengths, seq_axis=1, batch_axis=0)

    sequence = {
        b.SEQUENCE_ENTITY: tf.pad(turn(batch[b.HISTORY_ENTITY]), around),
        b.SEQUENCE_TYPE: tf.pad(turn(batch[b.HISTORY_TYPE]), around),
        b.SEQUENCE_LENGTH: lengths + 1 + int(mask_next),
    }
    last = tf.where(lengths > 0, sequence[b.SEQUENCE_LENGTH] - 1, 0)[:, None]
    rank = tf.range(tf.shape(sequence[b.SEQUENCE_ENTITY], tf.int64)[1])[None, :]
    sequence[b.SEQUENCE_QUERY] = tf.equal(rank, last)
    masked = tf.equal(rank, lengths[:, None] + 1)
    sequence[b.SEQUENCE_MASKED] = masked if mask_next else tf.zeros_like(masked)
    if b.USER_ATTRIBUTES in batch:
        sequence[b.USER_ATTRIBUTES] = batch[b.USER_ATTRIBUTES]
    if b.HISTORY_AGE in batch:
        following = tf.pad(turn(batch[b.HISTORY_AGE]), [[0, 0], [0, 1]])
        # The start is as old as the first event.
        ages = tf.concat([following[:, :1], following], axis=1)[:, : tf.size(rank)]
        sequence[b.SEQUENCE_AGE] = ages
        # The request that follows an event is the next event; the last one is now.
        sequence[b.SEQUENCE_REQUEST_AGE] = ages if mask_next else following
    return sequence
