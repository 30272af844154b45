"""Attention of a candidate over a history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class TargetAttention(tf.keras.layers.Layer):
    r"""Averages a history by how much each event matters to a candidate.

        a[t] = MLP([h[t] ; c ; h[t] - c ; h[t] * c]),   out = sum_t softmax(a)[t] h[t]

    over the events that are there. (DIN, Zhou et al. 2018, section 4.3. The paper leaves the
    softmax out, so that the sum keeps how strong an interest is; weights that sum to 1 measured
    better here. The MLP's activation is ReLU; Keras's PReLU takes half as long again as the rest
    of the layer.) The parts of the first layer that see the history or the candidate alone are
    multiplied once for each, and not for each pair.

    Time goes into memory traffic, so training takes the pages in parts, short histories first:
    a part has as many events as its longest history, and more of it stays in the cache.
    Otherwise candidates are taken a few at a time, whose pairs with events stay there, too:
    memory does not grow with candidates times events.

    Args:
        hidden_units: Widths of the MLP's hidden layers.
        parts: How many parts the pages of a training batch are taken in.
        pairs: Pairs of a candidate and an event at a time outside of training.
    """

    def __init__(
        self, hidden_units: Sequence[int], parts: int = 4, pairs: int = 1 << 15, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_units = tuple(hidden_units)
        self.parts = parts
        self.pairs = pairs

    def build(self, input_shape: Any) -> None:
        """Creates the layers; d is the width of the candidate."""
        dense = tf.keras.layers.Dense
        first, *others = self.hidden_units
        self.of_history = dense(first, use_bias=False, name="of_history")
        self.of_candidate = dense(first, name="of_candidate")
        self.of_product = dense(first, use_bias=False, name="of_product")
        self.others = [dense(w, "relu", name=f"hidden_{i}") for i, w in enumerate(others, 1)]
        self.weigh = dense(1, use_bias=False, name="weigh")
        super().build(input_shape)

    def call(
        self,
        candidate: tf.Tensor,
        history: tf.Tensor,
        mask: tf.Tensor,
        row: tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """Attends to the history of each candidate's page.

        Args:
            candidate: [I, d] float32.
            history: [B, T, d] float32.
            mask: [B, T] float32, 1 where there is an event.
            row: [I] int64, the page of each candidate.
            training: Whether the pages are taken in parts.

        Returns:
            [I, d] float32; zeros for an empty history.
        """
        if not training:
            return self._attend_by_slices(candidate, history, mask, row)
        position = tf.range(1.0, tf.cast(tf.shape(mask)[1], tf.float32) + 1.0)
        length = tf.cast(tf.reduce_max(mask * position, axis=1), tf.int32)  # [B]
        pages = tf.argsort(length)
        rank = tf.gather(tf.math.invert_permutation(pages), row)  # [I], of a candidate's page
        order = tf.argsort(rank)
        starts = tf.size(pages) * tf.range(self.parts + 1) // self.parts
        ends = tf.searchsorted(tf.gather(rank, order), starts)  # the same in candidates
        split = {"num_or_size_splits": starts[1:] - starts[:-1], "num": self.parts}
        given = zip(
            tf.split(tf.gather(candidate, order), ends[1:] - ends[:-1], num=self.parts),
            tf.split(tf.gather(history, pages), **split),
            tf.split(tf.gather(mask, pages), **split),
            tf.split(tf.gather(rank, order), ends[1:] - ends[:-1], num=self.parts),
            tf.split(tf.gather(length, pages), **split),
            tf.unstack(starts[:-1], self.parts),
            strict=True,
        )
        found = []
        for candidates, events, there, ranks, lengths, start in given:
            longest = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
            events, there = events[:, :longest], there[:, :longest]
            projected = self.of_history(events)
            found.append(self._attend(candidates, events, projected, there, ranks - start))
        return tf.gather(tf.concat(found, axis=0), tf.math.invert_permutation(order))

    def _attend_by_slices(
        self, candidate: tf.Tensor, history: tf.Tensor, mask: tf.Tensor, row: tf.Tensor
    ) -> tf.Tensor:
        """Attends for a few candidates after the other; see `call`."""
        size = tf.maximum(self.pairs // tf.maximum(tf.shape(mask)[1], 1), 1)
        number = tf.maximum(tf.shape(row)[0], 1)  # without a candidate one slice, which is empty
        width = [None, candidate.shape[1]]
        projected = self.of_history(history)
        found = tf.TensorArray(tf.float32, 0, True, infer_shape=False, element_shape=width)

        def attend(start: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            end = start + size
            part = self._attend(candidate[start:end], history, projected, mask, row[start:end])
            return end, found.write(start // size, part)

        found = tf.while_loop(lambda start, _: start < number, attend, [0, found])[1]
        return found.concat()  # [I, d]

    def _attend(
        self,
        candidate: tf.Tensor,
        history: tf.Tensor,
        projected: tf.Tensor,
        mask: tf.Tensor,
        row: tf.Tensor,
    ) -> tf.Tensor:
        """Attends; `projected` is [B, T, h], the history in the MLP's first layer; see `call`."""
        events = tf.gather(history, row)  # [I, T, d]
        there = tf.gather(mask, row)  # [I, T]
        # W [h ; c ; h - c ; h c] is (U h) + (V c) + W (h c), with h - c folded into U and V.
        first = tf.gather(projected, row) + self.of_candidate(candidate)[:, None]
        hidden = tf.nn.relu(first + self.of_product(events * candidate[:, None]))
        for layer in self.others:
            hidden = layer(hidden)
        logits = tf.where(there > 0.0, self.weigh(hidden)[:, :, 0], -1e9)  # [I, T]
        weight = tf.nn.softmax(logits) * there  # zeros for an empty history
        return tf.matmul(weight[:, None], events)[:, 0]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return super().get_config() | {
            "hidden_units": self.hidden_units,
            "parts": self.parts,
            "pairs": self.pairs,
        }
