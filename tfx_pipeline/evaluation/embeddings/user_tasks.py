"""Tasks that ask for users alone: their attributes, preference for categories, look-alikes."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from tfx_pipeline.datasets.division import USER_ATTRIBUTES
from tfx_pipeline.evaluation.embeddings import metrics
from tfx_pipeline.evaluation.embeddings.log import DividedLog
from tfx_pipeline.evaluation.embeddings.log import Events
from tfx_pipeline.evaluation.embeddings.probes import Split
from tfx_pipeline.evaluation.embeddings.probes import balanced
from tfx_pipeline.evaluation.embeddings.probes import hash_places
from tfx_pipeline.evaluation.embeddings.probes import probed
from tfx_pipeline.evaluation.embeddings.probes import split_rows
from tfx_pipeline.evaluation.embeddings.task import Aligned
from tfx_pipeline.evaluation.embeddings.task import Readings
from tfx_pipeline.evaluation.embeddings.task import Task
from tfx_pipeline.evaluation.embeddings.task import unit

AUDIENCES = 200  # items whose later users are looked for
LEAST_AUDIENCE = 10  # later users of such an item
FOUND_SHARE = 0.05  # of all users: the length of the list that counts


def _no_attributes(log: DividedLog) -> str:
    if not log.attributes:
        return "the log has no attributes of users"
    if USER_ATTRIBUTES not in log.hidden:
        return "the known log has the attributes, so embeddings may have read them"
    reasons = [_attribute_split(log, code)[1] for code in log.attributes.values()]
    return "" if "" in reasons else reasons[0]


def _attribute_split(log: DividedLog, code: np.ndarray) -> tuple[Split, str]:
    """Divides the users who tell an attribute; says why it cannot be asked for, if so."""
    split = split_rows(log.users, np.flatnonzero(code >= 0))
    one_class = any(len(np.unique(code[rows])) < 2 for rows in (split.small, split.test))
    return split, split.reason or ("all users tell the same" if one_class else "")


def predict_attributes(log: DividedLog, embeddings: Aligned) -> Readings:
    """Predicts each attribute: AUC of one with two values, macro-F1 of others."""
    features, readings = embeddings.users.features(), {}
    for name, code in log.attributes.items():
        split, reason = _attribute_split(log, code)
        if reason:
            continue
        weight, truth = metrics.draws(split.test), code[split.test]
        classes = np.eye(code.max() + 1, dtype=np.float32)
        two = len(classes) == 2
        target = code[:, None].astype(np.float32) if two else classes[code]
        repeat = balanced(code)
        for probe, found in probed(split, features.__getitem__, target, repeat):
            if two:
                readings[f"auc/{name}/{probe}"] = metrics.auc(truth > 0, found[:, 0], weight)
            else:
                predicted = found.argmax(axis=1)
                readings[f"macro_f1/{name}/{probe}"] = metrics.macro_f1(truth, predicted, weight)
    return readings


def category_shares(log: DividedLog, events: Events) -> np.ndarray:
    """Returns the shares of categories among users' events: [U, C]; or zeros."""
    ones = np.ones(len(events), np.float32)
    shape = len(log.users), len(log.items)
    matrix = sparse.csr_matrix((ones, (events.user, events.item)), shape)
    counts = matrix @ log.categories.astype(np.float32)
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)


def later_preference(log: DividedLog) -> np.ndarray:
    """Returns the shares of categories among what users do later: [U, C]; or zeros."""
    return category_shares(log, log.later)


def _no_preference(log: DividedLog) -> str:
    if log.categories.shape[1] < 2:
        return "the log has no two categories that enough items have"
    return split_rows(log.users, np.flatnonzero(later_preference(log).any(axis=1))).reason


def predict_preference(log: DividedLog, embeddings: Aligned) -> Readings:
    """Predicts the shares of categories among a user's later events: NDCG."""
    share, features = later_preference(log), embeddings.users.features()
    split = split_rows(log.users, np.flatnonzero(share.any(axis=1)))
    weight = metrics.draws(split.test)
    return {
        f"ndcg/{probe}": metrics.mean(metrics.ndcg(share[split.test], found), weight)
        for probe, found in probed(split, features.__getitem__, share)
    }


def audiences(log: DividedLog) -> tuple[np.ndarray, np.ndarray]:
    """Returns items [a], and who is new to them later: [a, U] bool."""
    pairs = np.unique(log.pair(log.later.user, log.later.item))
    user, item = np.divmod(pairs, len(log.items))
    fresh = ~log.is_known(user, item)
    user, item = user[fresh], item[fresh]
    count = np.bincount(item, minlength=len(log.items))
    items = np.flatnonzero(count >= LEAST_AUDIENCE)
    items = items[np.argsort(hash_places(log.items[items]), kind="stable")][:AUDIENCES]
    row = np.full(len(log.items), -1)
    row[items] = np.arange(len(items))
    later = np.zeros((len(items), len(log.users)), bool)
    chosen = row[item] >= 0
    later[row[item[chosen]], user[chosen]] = True
    return items, later


def _no_audience(log: DividedLog) -> str:
    found = len(audiences(log)[0])
    if found >= LEAST_AUDIENCE:
        return ""
    return f"only {found} items have {LEAST_AUDIENCE} later users who are new to them"


def expand_seeds(log: DividedLog, embeddings: Aligned) -> Readings:
    """Finds an item's other later users by half of them, the seeds: Recall@k.

    Users are ranked by the cosine to the mean of the seeds; seeds and users who know the item
    are left out. k is a share of all users. Of several vectors the mean by weight is compared:
    the vectors of two users are in no common order.
    """
    items, audience = audiences(log)
    features = unit(embeddings.users.mean())
    place = hash_places(log.users)
    k = max(1, round(FOUND_SHARE * len(log.users)))
    recall = np.zeros(len(items))
    known = log.known_matrix.tocsc()
    for row, item in enumerate(items):
        members = np.flatnonzero(audience[row])
        members = members[np.argsort(place[members], kind="stable")]
        seeds, wanted = members[::2], members[1::2]
        score = features @ unit(features[seeds].mean(axis=0))
        score[known.indices[known.indptr[item] : known.indptr[item + 1]]] = -np.inf
        score[seeds] = -np.inf
        ranked = np.sort(-score)
        first, last = (np.searchsorted(ranked, -score[wanted], side=s) for s in ("left", "right"))
        # Of equal scores as many are in the list as even chances put there.
        found = np.clip((k - first) / (last - first), 0, 1).sum()
        recall[row] = found / min(k, len(wanted))
    return {f"recall@{FOUND_SHARE:.0%}": metrics.mean(recall, metrics.draws(items))}


USER_TASKS = (
    Task(
        name="user_attributes",
        kind="user",
        metric="AUC, macro-F1",
        about="attributes of users, each by itself",
        missing=_no_attributes,
        measure=predict_attributes,
    ),
    Task(
        name="category_preference",
        kind="user",
        metric="NDCG",
        about="shares of categories among a user's later events",
        missing=_no_preference,
        measure=predict_preference,
    ),
    Task(
        name="look_alike",
        kind="user",
        metric=f"Recall@{FOUND_SHARE:.0%}",
        about="the other users of an item, from half of them",
        missing=_no_audience,
        measure=expand_seeds,
    ),
)
