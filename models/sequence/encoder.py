"""The encoder: a sequence of events as a sequence of vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from models.input import batch as b
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.attention_block import AttentionBlock
from models.layers.buckets import AGE_BUCKETS
from models.layers.buckets import age_bucket
from models.layers.embedding_bag import EmbeddingBag
from models.layers.gru_block import GRUBlock
from models.layers.hstu_block import HSTUBlock
from models.layers.positions import RelativePositionBias
from models.layers.positions import TimeBias
from models.layers.rms_norm import RMSNorm
from models.sequence.encoder_config import EncoderConfig

_FORBIDDEN = -1e9  # added to a score; the exponential of it is 0


class Encoder(tf.keras.layers.Layer):
    """Reads a sequence, each position from what came before it or from all of it.

        x[t] = drop(item[t] + type[t] + interval[t] + position[t] + user)
        out  = norm(block_n(.. block_1(x)))

    where `drop` zeroes values and whole events. A learned vector stands for the start at position
    0, another for a masked item. The start looks at nothing but itself, so its output is the
    query of a user without history. Padding comes last: in a causal encoder nothing
    looks at it, and otherwise it is masked.

    Args:
        dim: d.
        length: The longest sequence, the start among it.
        config: How it is read.
        sizes: Sizes of the vocabularies.
        causal: Whether a position looks at earlier ones only.
        precision: Dtype policy of the blocks, e.g. `mixed_bfloat16`.
    """

    def __init__(
        self,
        dim: int,
        length: int,
        config: EncoderConfig,
        sizes: VocabularySizes,
        causal: bool = True,
        precision: str = "float32",
    ) -> None:
        super().__init__(name="encoder")
        self.config = config
        self.causal = causal
        self.length = length
        rotary = config.positions == "rotary"
        self.blocks: list[tf.keras.layers.Layer] = []
        for number in range(config.blocks):
            common: dict[str, Any] = {"name": f"block_{number}", "dtype": precision}
            common["dropout"] = config.dropout
            if config.block == "gru":
                self.blocks.append(GRUBlock(**common))
            elif config.block == "hstu":
                self.blocks.append(HSTUBlock(config.heads, length, rotary=rotary, **common))
            else:
                block = AttentionBlock(
                    config.heads, config.feed_forward_multiplier, rotary=rotary, **common
                )
                self.blocks.append(block)
        self.drop = tf.keras.layers.Dropout(config.dropout)
        self.norm = RMSNorm(name="norm")
        if config.positions == "absolute":
            self.positions = self.add_weight(
                name="positions", shape=[length, dim], initializer=_normal(1)
            )
        self.start = self.add_weight(name="start", shape=[dim], initializer=_normal(2))
        if not causal:
            self.mask_token = self.add_weight(
                name="mask_token", shape=[dim], initializer=_normal(3)
            )
        self.distance_biases: list[RelativePositionBias | None] = [None] * config.blocks
        if config.positions == "relative" and config.block != "gru":
            self.distance_biases = [
                RelativePositionBias(config.heads, length, name=f"distance_{number}")
                for number in range(config.blocks)
            ]
        self.use_types = config.use_event_types and sizes.event_type > 2
        if self.use_types:
            self.types = tf.keras.layers.Embedding(sizes.event_type, dim, name="types")
        if config.use_time:
            self.intervals = tf.keras.layers.Embedding(AGE_BUCKETS, dim, name="intervals")
        has_time_bias = config.use_time and config.block != "gru"
        self.time_bias = TimeBias(config.heads, name="time") if has_time_bias else None
        if config.use_user_attributes:
            self.attributes = EmbeddingBag(sizes.user_attribute, dim, name="attributes")

    def call(
        self, sequence: Mapping[str, tf.Tensor], items: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Encodes sequences.

        Args:
            sequence: What else is known of the events and the user, by name (`models.input.batch`).
            items: [B, T, d] float32, vectors of the events' items; the first is not read.
            training: Whether dropout works.

        Returns:
            [B, T, d] float32.
        """
        start = tf.broadcast_to(self.start, tf.shape(items[:, :1]))
        events = tf.concat([start, items[:, 1:]], axis=1)
        if not self.causal:
            masked = sequence[b.SEQUENCE_MASKED][:, :, None]
            events = tf.where(masked, self.mask_token, events)
        if self.use_types:
            events += self.types(sequence[b.SEQUENCE_TYPE])
        if self.config.use_time:
            ages = sequence[b.SEQUENCE_AGE]
            before = tf.concat([ages[:, :1], ages[:, :-1]], axis=1)  # of the event before
            events += self.intervals(age_bucket(before - ages))
        if self.config.positions == "absolute":
            events += self.positions[: tf.shape(events)[1]]
        if self.config.use_user_attributes:
            events += self.attributes(sequence[b.USER_ATTRIBUTES])[:, None, :]
        events = self.drop(events, training=training)
        if training and self.config.event_dropout:
            shown = tf.random.uniform(tf.shape(events)[:2]) >= self.config.event_dropout  # [B, T]
            shown |= tf.equal(tf.range(tf.shape(events)[1]), 0)  # the start is no event
            events *= tf.cast(shown, events.dtype)[:, :, None]
        bias = self._allowed(sequence, tf.shape(events)[1])
        if self.time_bias is not None:
            ages, requests = sequence[b.SEQUENCE_AGE], sequence[b.SEQUENCE_REQUEST_AGE]
            bias += self.time_bias(ages, requests)
        for block, distance in zip(self.blocks, self.distance_biases, strict=True):
            events = block(events, bias if distance is None else bias + distance(events), training)
        return self.norm(tf.cast(events, tf.float32))

    def _allowed(self, sequence: Mapping[str, tf.Tensor], length: tf.Tensor) -> tf.Tensor:
        """Returns [B, 1, T, T] float32: 0 where a position may look, else forbidden.

        It is not left to be broadcast: TensorFlow fuses product and sum, and oneDNN has
        only its reference loop, far slower, for a summand with less than all positions.
        """
        lengths = sequence[b.SEQUENCE_LENGTH]
        position = tf.range(length)
        later = position[None, None, :] > position[None, :, None]  # [1, T, T]
        if self.causal:
            beyond = later
        else:
            beyond = (
                position[None, None, :] >= tf.cast(lengths, tf.int32)[:, None, None]
            )  # [B, 1, T]
            beyond |= (position[:, None] == 0) & (position > 0)  # the start sees itself alone
            if b.SEQUENCE_FORWARDS in sequence:
                beyond |= later & sequence[b.SEQUENCE_FORWARDS][:, None, None]
        shape = [tf.shape(lengths)[0], length, length]
        return tf.cast(tf.broadcast_to(beyond, shape), tf.float32)[:, None] * _FORBIDDEN


def _normal(seed: int) -> tf.keras.initializers.Initializer:
    """Returns initial values that one worker and several draw alike.

    These weights are made outside of a replica, where a strategy draws another number of
    times than one device does; each has a seed of its own, or all would be equal.
    """
    return tf.keras.initializers.RandomNormal(stddev=0.02, seed=seed)
