"""Tasks that ask for users and items together: the next item, ratings or clicks."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.evaluation.embeddings import metrics
from tfx_pipeline.evaluation.embeddings.log import DividedLog
from tfx_pipeline.evaluation.embeddings.log import Events
from tfx_pipeline.evaluation.embeddings.probes import Split
from tfx_pipeline.evaluation.embeddings.probes import hash_places
from tfx_pipeline.evaluation.embeddings.probes import probed
from tfx_pipeline.evaluation.embeddings.probes import small_budget
from tfx_pipeline.evaluation.embeddings.probes import split_rows
from tfx_pipeline.evaluation.embeddings.task import Aligned
from tfx_pipeline.evaluation.embeddings.task import Readings
from tfx_pipeline.evaluation.embeddings.task import Task

LEAST_USERS = 20
MOST_RATED = 10_000, 5_000  # rows that a probe is trained on, and that it is judged on
MOST_USERS = 20_000  # whose next item is asked for
_CELLS = 1 << 22  # scores that are held at once


def next_items(log: DividedLog) -> tuple[np.ndarray, np.ndarray]:
    """Returns users [a] and for each the first later item [a] that is new to them.

    Of more than `MOST_USERS` those that a hash of the id chooses.
    """
    events = log.later
    fresh = ~log.is_known(events.user, events.item)
    users, first = np.unique(events.user[fresh], return_index=True)
    chosen = np.arange(len(users))
    if len(users) > MOST_USERS:
        chosen = np.sort(np.argsort(hash_places(log.users[users]), kind="stable")[:MOST_USERS])
    return users[chosen], events.item[fresh][first[chosen]]


def _no_next(log: DividedLog) -> str:
    found = len(next_items(log)[0])
    return "" if found >= LEAST_USERS else f"only {found} users have a later item new to them"


def next_ranks(
    log: DividedLog, embeddings: Aligned, among: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns users [a], and the rank [a], from 0, of each one's next item among all new ones.

    Equal scores share the mean of their ranks. `among` [N] bool leaves other items out; the next
    items are to be among these.
    """
    users, targets = next_items(log)
    ranks = np.empty(len(users))
    block = max(1, _CELLS // (embeddings.users.vectors.shape[1] * max(1, len(log.items))))
    for start in range(0, len(users), block):
        rows, wanted = users[start : start + block], targets[start : start + block]
        scores = embeddings.users.scores(rows, embeddings.items)
        scores[log.known_matrix[rows].toarray()] = -np.inf
        if among is not None:
            scores[:, ~among] = -np.inf
        own = np.take_along_axis(scores, wanted[:, None], axis=1)
        above = (scores > own).sum(axis=1)
        ranks[start : start + block] = above + ((scores == own).sum(axis=1) - 1) / 2
    return users, ranks


def rank_next(log: DividedLog, embeddings: Aligned) -> Readings:
    """Ranks all items that are new to a user by the embeddings' own score: NDCG and Recall."""
    users, rank = next_ranks(log, embeddings)
    weight = metrics.draws(users)
    readings = {"ndcg@10": metrics.mean(metrics.discounted_gain(rank), weight)}
    for k in (10, 50):
        readings[f"recall@{k}"] = metrics.mean(rank < k, weight)
    return readings


def labelled_pairs(log: DividedLog) -> tuple[Events, np.ndarray, str]:
    """Returns later pairs with two kinds of labels.

    Where there are impressions: whether they were followed by an event on their page. Else,
    where events have values: whether it is at least the median of the known ones (4 of
    MovieLens's ratings).

    Returns:
        The pairs, their labels [n] bool, and why there are none, or an empty string.
    """
    if len(log.shown):
        return log.shown, log.shown.value > 0, ""
    valued = ~np.isnan(log.later.value)
    events = Events(log.later.user[valued], log.later.item[valued], log.later.value[valued])
    if not len(events):
        return events, np.zeros(0, bool), "later events have neither impressions nor values"
    return events, events.value >= np.nanmedian(log.known.value), ""


def _no_labels(log: DividedLog) -> str:
    pairs, label, reason = labelled_pairs(log)
    if reason:
        return reason
    split = _rated_split(log, pairs)
    one_class = any(len(np.unique(label[rows])) < 2 for rows in (split.small, split.test))
    return split.reason or ("all labels are alike" if one_class else "")


def _rated_split(log: DividedLog, pairs: Events) -> Split:
    """Divides pairs by their users; as many as probes can be trained with, in random order."""
    split = split_rows(log.users[pairs.user])
    rng = np.random.default_rng(0)
    train, test = (
        rng.choice(rows, min(len(rows), most), replace=False)
        for rows, most in zip((split.train, split.test), MOST_RATED, strict=True)
    )
    return Split(train, train[: small_budget(len(train))], test)


def predict_labels(log: DividedLog, embeddings: Aligned) -> Readings:
    """Predicts ratings or clicks from the product of user and item, and from both: AUC."""
    pairs, label, _ = labelled_pairs(log)
    split = _rated_split(log, pairs)
    mean = embeddings.users.mean()

    def inputs(rows: np.ndarray) -> np.ndarray:
        user, item = mean[pairs.user[rows]], embeddings.items[pairs.item[rows]]
        return np.concatenate([user * item, user, item], axis=1)

    weight = metrics.draws(pairs.user[split.test])
    target = label[:, None].astype(np.float32)
    return {
        f"auc/{probe}": metrics.auc(label[split.test], found[:, 0], weight)
        for probe, found in probed(split, inputs, target)
    }


PAIR_TASKS = (
    Task(
        name="next_item",
        kind="pair",
        metric="NDCG@10",
        about="the next item that is new to a user, of all, by the embeddings' own score",
        missing=_no_next,
        measure=rank_next,
        beside=("recall",),
    ),
    Task(
        name="rating",
        kind="pair",
        metric="AUC",
        about="a high rating, or a click on what was shown",
        missing=_no_labels,
        measure=predict_labels,
    ),
)
