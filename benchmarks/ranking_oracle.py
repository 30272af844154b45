"""The simulated shop's truth on the test pages: the ceiling of every ranking model."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.ranking_run import TEST
from tfx_pipeline.datasets.shop import utility
from tfx_pipeline.datasets.shop.truth import POSITIVE
from tfx_pipeline.datasets.shop.truth import Truth
from tfx_pipeline.runners.transformed import Transformed


class Judged(NamedTuple):
    """The candidates of held-out pages, as the truth sees them.

    Attributes:
        label: [n] int64, 1 where one of them was clicked or watched.
        user: [n] int64, whose page it is.
        click: [n] float64, the probability of that at the position where it was.
        liking: [n] float64, the same for who looks at it, wherever it is.
    """

    label: np.ndarray
    user: np.ndarray
    click: np.ndarray
    liking: np.ndarray

    def metrics(self) -> dict[str, dict[str, float]]:
        """Returns the metrics of the rows `oracle` and `oracle_without_position`."""
        return {
            "oracle": page_metrics(self.label, self.click, self.user),
            "oracle_without_position": page_metrics(self.label, self.liking, self.user),
        }


def page_metrics(label: np.ndarray, p: np.ndarray, user: np.ndarray) -> dict[str, float]:
    """Returns AUC, GAUC, log loss and calibration of probabilities, [n] each."""
    from models.ranking import page_metrics as metrics

    return {
        "auc": metrics.auc(label, p),
        "gauc": metrics.grouped_auc(label, p, user),
        "log_loss": metrics.log_loss(label, p),
        "calibration": metrics.calibration(label, p),
        "candidates": float(label.size),
    }


def judge(data: Transformed, log_dir: Path) -> Judged:
    """Joins the split `test_pages` with the truth beside the log.

    Args:
        data: Page examples of a shop's log, their labels of any event.
        log_dir: The log, with the truth of all users.

    Raises:
        ValueError: A page is not in the truth, or has other labels there.
    """
    user, time, labels = _read(data)
    truth = Truth(log_dir)
    parts = [_judge(truth, kind, user, time - truth.config.start_time, labels) for kind in POSITIVE]
    found = Judged(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    if found.label.size != sum(map(len, labels)):
        raise ValueError(
            f"{log_dir} knows {found.label.size:,} of {sum(map(len, labels)):,} candidates. Make "
            "the shop with `truth_users` as many as `users`, and the examples of that log."
        )
    return found


def _judge(
    truth: Truth, kind: str, user: np.ndarray, time: np.ndarray, labels: list[np.ndarray]
) -> Judged:
    """Judges those of the pages that are of a kind."""
    seen = truth.impressions(kind)
    key = truth.pages["user"][seen.page] * truth.config.span + truth.pages["time"][seen.page]
    order = np.argsort(key)
    wanted = user * truth.config.span + time  # [P]
    row = order[np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)]
    mine = np.flatnonzero(key[row] == wanted)
    if not mine.size:
        none = np.zeros(0)
        return Judged(none.astype(np.int64), none.astype(np.int64), none, none)
    row = row[mine]
    things, there = seen.things[row], seen.things[row] >= 0  # [p, C]
    label = np.concatenate([labels[page] for page in mine])
    if not np.array_equal(label, seen.chosen[row][there]):
        raise ValueError(
            f"The labels of the pages of {kind}s are not what the truth says that followed. Were "
            "the examples made of this log, with `label.source: impressions` and any event?"
        )
    parts = truth.parts(kind, seen.page[row], things)
    return Judged(
        label,
        np.repeat(user[mine], there.sum(axis=1)),
        utility.choice(kind, parts)[there],
        utility.liking(kind, parts)[there],
    )


def _read(data: Transformed) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Returns row of the user, time in microseconds and labels by position of each page."""
    from models.input.timeline_files import parsed_timelines
    from models.input.timeline_files import timeline_records
    from transforms import features as f

    spec = data.output().transformed_feature_spec()
    wanted = (f.USER_ID, f.REQUEST_TIME, f.LABEL_EVENTS)
    users, times, labels = [], [], []
    for pages in parsed_timelines(timeline_records(data.files(TEST)), spec, 4096, wanted):
        users.append(pages[f.USER_ID].flat_values.numpy().astype(np.int64) - 1)
        times.append(pages[f.REQUEST_TIME].flat_values.numpy())
        labels += [np.minimum(row, 1) for row in pages[f.LABEL_EVENTS].numpy()]
    return np.concatenate(users), np.concatenate(times), labels
