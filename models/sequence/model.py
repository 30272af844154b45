"""The sequence recommender."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf

from models.input import batch as b
from models.input.bucketing import Buckets
from models.input.sequence_batches import SequenceSpec
from models.input.sequence_batches import plan_buckets
from models.input.sequence_batches import sequence_batches
from models.input.target_rule import TargetRule
from models.input.timeline_files import Spec
from models.input.timelines import is_one_of
from models.input.vocabulary_sizes import Sizes
from models.input.windows import ALL
from models.input.windows import WindowSpec
from models.retrieval.model import RetrievalModel
from models.sequence.encoder import Encoder
from models.tasks.excluded import earlier_columns
from models.training.replicas import InputPart

_READ = (  # by the encoder, besides the items' vectors
    b.SEQUENCE_TYPE,
    b.SEQUENCE_LENGTH,
    b.SEQUENCE_MASKED,
    b.SEQUENCE_AGE,
    b.SEQUENCE_REQUEST_AGE,
    b.USER_ATTRIBUTES,
)


class SequenceModel(RetrievalModel):
    """A transformer over the timeline and a candidate tower over the catalogue.

    The vector at a place of the sequence is the query that follows the event
    there: training finds the next event at every place at once (Kang & McAuley 2018), or
    hidden events from both sides (Sun et al. 2019). A sequence begins with a start token, whose
    vector finds a user's first event and answers users without history.
    """

    _buckets: Buckets | None = None

    def _add_query_tower(self, sizes: Sizes) -> None:
        towers = self.config.sequence
        self._causal = towers.objective == "next"
        length = self.sequence_spec.longest
        self.encoder = Encoder(
            towers.dim, length, towers.encoder, sizes, self._causal, self.config.precision
        )
        self._compiled = tf.function(self.encoder, jit_compile=True)

    @property
    def sequence_spec(self) -> SequenceSpec:
        """What the sequences hold that the model learns from."""
        config, towers = self.config.sequence.input, self.config.sequence
        return SequenceSpec(
            length=config.length,
            every_window=config.windows == "all",
            overlap=config.overlap,
            length_multiple=config.length_multiple,
            use_time=towers.encoder.use_time,
            attributes=towers.encoder.attributes,
            mask_share=0.0 if self._causal else towers.mask_share,
        )

    def window_spec(self, training: bool) -> WindowSpec:
        """Returns what the windows hold that requests are embedded from; see the base class."""
        del training
        encoder = self.config.sequence.encoder
        return WindowSpec(
            window=self.config.sequence.input.length,
            seen=ALL if self._seen_types != () else 0,
            use_time=encoder.use_time,
            attributes=encoder.attributes,
            seen_types=self._seen_types or None,
        )

    def training_batches(
        self, files: Sequence[str], spec: Spec, rule: TargetRule, part: InputPart
    ) -> tf.data.Dataset:
        """Makes batches of sequences; see the base class."""
        buckets = self._plan(files, spec, rule)
        config, sequences = self.config, self.sequence_spec
        return sequence_batches(
            files, spec, sequences, rule, buckets, config.input, config.seed, part
        )

    def count_batches(self, files: Sequence[str], spec: Spec, rule: TargetRule) -> int:
        """Counts the batches of an epoch by the lengths of timelines; see the base class."""
        return self._plan(files, spec, rule).batches

    def _plan(self, files: Sequence[str], spec: Spec, rule: TargetRule) -> Buckets:
        if self._buckets is None:  # by reading everything, so once
            size = self.config.input.batch_size
            self._buckets = plan_buckets(files, spec, self.sequence_spec, rule, size)
        return self._buckets

    @tf.autograph.experimental.do_not_convert
    def embed_queries(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Embeds requests: the vector at the newest event of each window, [B, d] float32."""
        return super().embed_queries(sequences_of_windows(batch, not self._causal), training)

    def _history_ids(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return inputs[b.SEQUENCE_ENTITY]

    def _target_ids(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return tf.boolean_mask(inputs[b.SEQUENCE_TARGET], inputs[b.SEQUENCE_QUERY])

    def _queries(
        self,
        inputs: Mapping[str, tf.Tensor],
        vectors: tf.Tensor,
        place: tf.Tensor,
        training: bool,
    ) -> tf.Tensor:
        read = {name: inputs[name] for name in _READ if name in inputs}
        # Requests are as long as they are; each length would be compiled anew.
        encode = self._compiled if training and self.config.sequence.xla else self.encoder
        encoded = encode(read, tf.gather(vectors, place), training=training)  # [B, T, d]
        return self._query_direction(tf.boolean_mask(encoded, inputs[b.SEQUENCE_QUERY]))

    def _excluded(
        self,
        inputs: Mapping[str, tf.Tensor],
        place: tf.Tensor,
        ids: tf.Tensor,
        target_place: tf.Tensor,
    ) -> tf.RaggedTensor | None:
        """Excludes the events of a sequence up to a query's place, the seen types of them."""
        if not self._excludes_history:
            return None
        seen = inputs[b.SEQUENCE_ENTITY] > 0
        if self._seen_types:
            seen &= is_one_of(inputs[b.SEQUENCE_TYPE], self._seen_types)
        if self.config.task.loss == "full":
            known = tf.gather(self._is_trained, inputs[b.SEQUENCE_ENTITY])
            place = tf.cast(tf.gather(self._columns, inputs[b.SEQUENCE_ENTITY]), tf.int32)
            seen &= known
        else:
            seen &= place < tf.size(ids)
        where = tf.where(inputs[b.SEQUENCE_QUERY])  # [P, 2]
        return earlier_columns(place, seen, where[:, 0], where[:, 1], target_place)


def sequences_of_windows(
    batch: Mapping[str, tf.Tensor], hide_next: bool = False
) -> dict[str, tf.Tensor]:
    """Turns windows, newest first, into sequences, oldest first, with one query each.

    Sequences are as long as the longest of the batch: attention over the rest of a
    window would cost most of a short request's time. The query is at the last place, of an
    empty window at the start token.

    Args:
        batch: Windows by name (`models.input.batch`), B rows of T events.
        hide_next: Whether a hidden event follows, whose place the query has.

    Returns:
        Sequences by name, B rows of the start, at most T events, and the hidden one.
    """
    lengths = batch[b.HISTORY_LENGTH]
    longest = tf.maximum(tf.reduce_max(lengths), 1)
    around = [[0, 0], [1, int(hide_next)]]

    def turn(values: tf.Tensor) -> tf.Tensor:
        newest = tf.where(tf.sequence_mask(lengths, longest), values[:, :longest], 0)
        return tf.reverse_sequence(newest, lengths, seq_axis=1, batch_axis=0)

    sequence = {
        b.SEQUENCE_ENTITY: tf.pad(turn(batch[b.HISTORY_ENTITY]), around),
        b.SEQUENCE_TYPE: tf.pad(turn(batch[b.HISTORY_TYPE]), around),
        b.SEQUENCE_LENGTH: lengths + 1 + int(hide_next),
    }
    last = tf.where(lengths > 0, sequence[b.SEQUENCE_LENGTH] - 1, 0)[:, None]
    rank = tf.range(tf.shape(sequence[b.SEQUENCE_ENTITY], tf.int64)[1])[None, :]
    sequence[b.SEQUENCE_QUERY] = tf.equal(rank, last)
    hidden = tf.equal(rank, lengths[:, None] + 1)
    sequence[b.SEQUENCE_MASKED] = hidden if hide_next else tf.zeros_like(hidden)
    if b.USER_ATTRIBUTES in batch:
        sequence[b.USER_ATTRIBUTES] = batch[b.USER_ATTRIBUTES]
    if b.HISTORY_AGE in batch:
        following = tf.pad(turn(batch[b.HISTORY_AGE]), [[0, 0], [0, 1]])
        # The start is as old as the first event.
        ages = tf.concat([following[:, :1], following], axis=1)[:, : tf.size(rank)]
        sequence[b.SEQUENCE_AGE] = ages
        # The request that follows an event is the next event; the last one is now.
        sequence[b.SEQUENCE_REQUEST_AGE] = ages if hide_next else following
    return sequence
