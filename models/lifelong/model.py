"""Base of the ranking models of long histories: what a candidate finds, a few pages at a time."""

from __future__ import annotations

import tensorflow as tf

from models.ranking.features import PageView
from models.ranking.interest import InterestModel

_PAIRS = 1 << 20  # of a candidate and an event, scored at a time outside of training


class LifelongModel(InterestModel):
    """A ranking model of long histories; a family adds `attend`.

    Outside of training pages are taken a few at a time, so that memory does not grow with
    pages times candidates times events.

    Attributes:
        cells: Floats that a candidate needs at the least, whatever the number of events.
    """

    cells: int = 1

    def attend(self, view: PageView) -> tf.Tensor:
        """Returns what of its page's history goes with each candidate.

        Args:
            view: I candidates and what they are judged by.

        Returns:
            [I, d] float32; zeros for an empty history.
        """
        raise NotImplementedError

    def interest(self, view: PageView, training: bool = False) -> tf.Tensor:
        """Attends to the histories: [I, d] float32; see the base class."""
        if training:
            return self.attend(view)
        pages, events = tf.unstack(tf.shape(view.mask))
        most = tf.reduce_max(tf.math.bincount(tf.cast(view.row, tf.int32), minlength=1))
        size = tf.maximum(_PAIRS // tf.maximum(most * tf.maximum(events, self.cells), 1), 1)
        number = tf.maximum(pages, 1)  # without a page one slice, which is empty
        shape = [None, self.model.dim]
        found = tf.TensorArray(tf.float32, 0, True, infer_shape=False, element_shape=shape)

        def attend(start: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            end = tf.minimum(start + size, pages)
            part = view.of_pages(tf.cast(start, tf.int64), tf.cast(end, tf.int64))
            return start + size, found.write(start // size, self.attend(part))

        found = tf.while_loop(lambda start, _: start < number, attend, [0, found])[1]
        return found.concat()  # [I, d]
