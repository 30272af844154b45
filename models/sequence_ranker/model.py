"""The sequence encoder as a ranker."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.input import batch as b
from models.layers.crossed_mlp import CrossedMLP
from models.ranking.features import PageView
from models.ranking.model import RankingModel
from models.sequence.encoder import Encoder
from models.sequence_ranker.config import SequenceRankerConfig


class SequenceRanker(RankingModel):
    """Scores a candidate beside a transformer's vector of the history.

        user   = encoder(start token, history) at the newest event
        logits = MLP(cross(.. cross([candidate ; user ; candidate * user ; context])))

    See `models.ranking.model.RankingModel` for the arguments.
    """

    model: SequenceRankerConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # Types and times are in the history's vectors already.
        plain = self.model.encoder.model_copy(
            update={"use_event_types": False, "use_time": False, "use_user_attributes": False}
        )
        sizes = args[1]
        self.encoder = Encoder(
            self.model.dim, self.model.window + 1, plain, sizes, precision=self.config.precision
        )
        given = (self.model.hidden_units, len(self.heads), self.model.dropout)
        self.mlp = CrossedMLP(*given, self.model.crosses, self.model.dim, name="mlp")

    def logits(self, view: PageView, training: bool = False) -> tf.Tensor:
        """Scores candidates: [I, H] float32; see the base class."""
        lengths = tf.cast(tf.reduce_sum(view.mask, axis=1), tf.int64)  # [B]
        events = view.history * view.mask[:, :, None]
        # The encoder reads oldest first; masked events of a window count as none, newest first.
        order = tf.argsort(-view.mask, axis=1, stable=True)
        events = tf.gather(events, order, batch_dims=1)
        events = tf.reverse_sequence(events, lengths, seq_axis=1, batch_axis=0)
        events = tf.pad(events, [[0, 0], [1, 0], [0, 0]])  # the encoder's start token comes first
        encoded = self.encoder({b.SEQUENCE_LENGTH: lengths + 1}, events, training=training)
        user = tf.gather(encoded, lengths, batch_dims=1)  # [B, d]
        user = tf.gather(user, view.row)  # [I, d]
        parts = [view.candidate, user, view.candidate * user, view.context]
        return self.mlp(tf.concat(parts, axis=1), training=training)
