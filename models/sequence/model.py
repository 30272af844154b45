"""The sequence recommender."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf

from models import batch as b
from models.replicas import InputPart
from models.retrieval_model import RetrievalModel
from models.sequence.encoder import Encoder
from models.sequences import SequenceSpec
from models.sequences import count_batches
from models.sequences import sequence_batches
from models.sizes import Sizes
from models.targets import TargetRule
from models.tasks.excluded import earlier_columns
from models.timeline_files import Spec
from models.timelines import is_one_of
from models.windows import ALL
from models.windows import WindowSpec

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
    hidden events from both sides (Sun et al. 2019).
    """

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
            known_only=True,
        )

    def training_batches(
        self, files: Sequence[str], spec: Spec, rule: TargetRule, part: InputPart
    ) -> tf.data.Dataset:
        """Makes batches of sequences; see the base class."""
        return sequence_batches(
            files, spec, self.sequence_spec, rule, self.config.input, self.config.seed, part
        )

    def count_batches(self, files: Sequence[str], spec: Spec) -> int:
        """Counts about how many batches an epoch has, by the lengths of timelines."""
        return count_batches(files, spec, self.sequence_spec, self.config.input)

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
    window would cost most of a short request's time.

    Args:
        batch: Windows by name (`models.batch`), B rows of T events.
        hide_next: Whether a hidden event follows, whose place the query has.

    Returns:
        Sequences by name, B rows of at most T events (and the hidden one); an empty one
        has its query at place 0.
    """
    lengths = batch[b.HISTORY_LENGTH]
    longest = tf.maximum(tf.reduce_max(lengths), 1)

    def turn(values: tf.Tensor) -> tf.Tensor:
        newest = values[:, :longest]
        values = tf.reverse_sequence(newest, lengths, seq_axis=1, batch_axis=0)
        return tf.pad(values, [[0, 0], [0, 1]]) if hide_next else values

    sequence = {
        b.SEQUENCE_ENTITY: turn(batch[b.HISTORY_ENTITY]),
        b.SEQUENCE_TYPE: turn(batch[b.HISTORY_TYPE]),
        b.SEQUENCE_LENGTH: lengths + int(hide_next),
    }
    last = tf.maximum(sequence[b.SEQUENCE_LENGTH] - 1, 0)[:, None]
    rank = tf.range(tf.shape(sequence[b.SEQUENCE_ENTITY], tf.int64)[1])[None, :]
    sequence[b.SEQUENCE_QUERY] = tf.equal(rank, last)
    sequence[b.SEQUENCE_MASKED] = sequence[b.SEQUENCE_QUERY] & hide_next
    if b.USER_ATTRIBUTES in batch:
        sequence[b.USER_ATTRIBUTES] = batch[b.USER_ATTRIBUTES]
    if b.HISTORY_AGE in batch:
        ages = turn(batch[b.HISTORY_AGE])
        sequence[b.SEQUENCE_AGE] = ages
        # The request that follows an event is the next event; the last one is now.
        following = tf.pad(ages[:, 1:], [[0, 0], [0, 1]])
        sequence[b.SEQUENCE_REQUEST_AGE] = ages if hide_next else following
    return sequence
