"""How well an encoder's similarities tell clicks, and whether its vectors have collapsed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import tensorflow as tf

from models.courier import page_views as v
from models.courier.losses import effective_rank
from models.courier.losses import mean_cosine
from models.courier.objectives import simclr_losses
from models.courier.views import VIEWS
from models.courier.views import two_views
from models.input import batch as b
from models.ranking.page_metrics import auc
from models.ranking.page_metrics import grouped_auc
from models.training.learner import Metrics

if TYPE_CHECKING:
    from models.config import RepresentationValidationConfig
    from models.courier.model import Courier

VIEWS_LOSS = "views_loss"
_RANKED = 4_096  # images whose effective rank is computed
_VIEWED, _TOLD = 2_048, 256  # images whose views are told, and from how many at a time
_DRAWN = 1 << 40  # begins the seeds of their views, which no training has


class ImageEvaluation:
    """Measures an encoder on held-out pages, by images alone.

    SimCLR, which reads no pages, is measured by its own loss as well, of views that training does
    not draw; then there may be no pages.

    Args:
        model: What is measured.
        batches: Of `models.input.page_batches.evaluation_pages`.

    Raises:
        ValueError: No held-out page has an image with one before it, and the epoch to keep is
            chosen by these.
    """

    def __init__(self, model: Courier, batches: list[Mapping[str, tf.Tensor]]) -> None:
        self._model = model
        row = tf.constant(model.images.row)
        self._first = {name: values[:1] for name, values in (batches or [{}])[0].items()}
        self._batches, users, clicked = [], [], []
        for batch in batches:
            views = v.page_views(batch, row, model.model.history, tf.identity)
            before = tf.gather(views[v.HISTORY_ROW][:, 0], views[v.SHOWN_PAGE]) > 0
            self._batches.append(views | {"judged": tf.where(before)[:, 0]})
            users.append(tf.gather(batch[b.USER], views[v.SHOWN_PAGE])[before].numpy())
            clicked.append(views[v.CLICKED][before].numpy())
        self._views = model.model.objective == "simclr"
        if not sum(map(len, users)) and model.config.validation.monitor != VIEWS_LOSS:
            raise ValueError(
                "Expected held-out pages whose images have images before them, found none. Move "
                "`validation_start`, or check `candidate_types` and the images of the log."
                + f" Without pages, choose by `validation.monitor: {VIEWS_LOSS}`."
                * self._views
            )
        self._users = np.concatenate([*users, np.zeros([0], np.int64)])
        self._clicked = np.concatenate([*clicked, np.zeros([0], bool)])
        self._score = tf.function(self._similarities, reduce_retracing=True, autograph=False)
        self._told = tf.function(self._losses_of_views, reduce_retracing=True, autograph=False)

    def evaluate(self) -> Metrics:
        """Returns how well clicks are told on held-out pages, and the monitor of a collapse.

        `auc` and `gauc` are of the mean cosine with the history, `auc_max` of the greatest one
        and `auc_rebuilt` of the cosine with the reconstruction; `mean_cosine` and
        `effective_rank` are of the vectors of all images. `views_loss` is SimCLR's loss.
        """
        vectors = self._model.encoder.fit_centre(self._model.inputs_of_encoder)
        views = {VIEWS_LOSS: self._views_loss()} if self._views else {}
        return views | self.measure(vectors)

    def measure(self, vectors: np.ndarray) -> Metrics:
        """Measures vectors [n + 1, d] of all images and the blank one; see `evaluate`."""
        clicks = self._clicks_told(tf.constant(vectors)) if len(self._clicked) else {}
        return clicks | {
            "mean_cosine": mean_cosine(vectors[1:]),
            "effective_rank": effective_rank(vectors[1 : 1 + _RANKED]),
        }

    def _clicks_told(self, vectors: tf.Tensor) -> Metrics:
        """Measures how well clicks are told by vectors."""
        scored = [self._score(batch, vectors).numpy() for batch in self._batches]
        mean, most, rebuilt = np.concatenate(scored).T
        return {
            "auc": auc(self._clicked, mean),
            "gauc": grouped_auc(self._clicked, mean, self._users),
            "auc_max": auc(self._clicked, most),
            "auc_rebuilt": auc(self._clicked, rebuilt),
        }

    def _views_loss(self) -> float:
        """Returns SimCLR's mean loss of some images, of the same views each time."""
        rows = 1 + np.random.default_rng(0).permutation(len(self._model.images))[:_VIEWED]
        parts = [rows[start : start + _TOLD] for start in range(0, len(rows), _TOLD)]
        pixels = self._model.images.pixels
        losses = [self._told(tf.constant(pixels[part]), tf.constant(part)) for part in parts]
        return float(np.concatenate([one.numpy() for one in losses]).mean())

    def _losses_of_views(self, pixels: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Returns SimCLR's losses of [n, height, width, 3] images, of rows [n]: [2 n]."""
        views = two_views(pixels, tf.stack([_DRAWN, tf.cast(rows[0], tf.int64)]))
        inputs = {VIEWS: views, v.IMAGE_ROW: rows}
        return simclr_losses(self._model.encoder, inputs, self._model.model.temperature)

    def _similarities(self, batch: Mapping[str, tf.Tensor], vectors: tf.Tensor) -> tf.Tensor:
        """Returns similarities of the judged images of a batch: mean, greatest, rebuilt [J, 3]."""
        vectors = tf.gather(vectors, batch[v.IMAGES])  # [n, d]
        judged = batch["judged"]
        shown = tf.math.l2_normalize(tf.gather(vectors, tf.gather(batch[v.SHOWN], judged)), axis=1)
        page = tf.gather(batch[v.SHOWN_PAGE], judged)
        unit = tf.math.l2_normalize(tf.gather(vectors, batch[v.HISTORY]), axis=2)  # [B, T, d]
        there = tf.gather(tf.cast(batch[v.HISTORY_ROW] > 0, tf.float32), page)  # [J, T]
        cosine = tf.einsum("jd,jtd->jt", shown, tf.gather(unit, page))
        mean = tf.reduce_sum(cosine * there, axis=1) / tf.reduce_sum(there, axis=1)
        most = tf.reduce_max(tf.where(there > 0.0, cosine, -2.0), axis=1)
        rebuilt = tf.math.l2_normalize(self._model.rebuild(batch, vectors, judged), axis=1)
        return tf.stack([mean, most, tf.reduce_sum(shown * rebuilt, axis=1)], axis=1)

    def report(self) -> dict[str, Any]:
        """Returns how many images there are, and how many shown ones are judged."""
        return {"images": len(self._model.images), "judged": len(self._clicked)}

    def run_one(self) -> None:
        """Computes the losses of one page, which makes the weights of a model without any."""
        if self._views:
            return  # whose encoder has its weights
        images, row = self._model.inputs_of_encoder, tf.constant(self._model.images.row)
        self._model.losses(  # not the metric, which no replica is there to add up
            v.page_views(
                self._first,
                row,
                self._model.model.history,
                lambda rows: tf.constant(images[rows.numpy()]),
            )
        )


def require_spread(metrics: Mapping[str, float], limits: RepresentationValidationConfig) -> None:
    """Refuses vectors that all point the same way, or lie along one line.

    Raises:
        ValueError: Their mean cosine is too great, or their effective rank too small.
    """
    key = "representation.trainer.validation"
    found = None
    if metrics["mean_cosine"] > limits.max_mean_cosine:
        found = (
            f"the mean cosine of two images is {metrics['mean_cosine']:.3f}, and at most "
            f"{limits.max_mean_cosine} is allowed (`{key}.max_mean_cosine`)"
        )
    if metrics["effective_rank"] < limits.min_effective_rank:
        found = (
            f"their effective rank is {metrics['effective_rank']:.2f}, and at least "
            f"{limits.min_effective_rank} is asked for (`{key}.min_effective_rank`)"
        )
    if found:
        raise ValueError(
            f"The vectors have collapsed: {found}. Lower the learning rate, or train longer."
        )
