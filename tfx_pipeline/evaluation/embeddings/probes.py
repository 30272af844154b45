"""Probes: what is read out of frozen embeddings, and with how many labels.

Both probes are regressions of a target matrix, whatever the task: classes are columns of zeros
and ones (squared loss is as good as cross-entropy for classes: Hui and Belkin 2021, Evaluation
of Neural Architectures Trained with Square Loss vs Cross-Entropy). All embeddings get the
same: columns are standardised, the ridge penalty is chosen among the same by leave-one-out,
the MLP has the same width, steps and seed, and the rows that are trained on and judged are
chosen by a hash of their ids.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tfx_pipeline.datasets.row_hash import hash_strings
from transforms.arrow import pa

TEST_SHARE = 0.3
SMALL_SHARE = 0.05  # of the labels that are trained with
_LEAST = 20  # labels, however small their share
_PENALTIES = np.logspace(-1, 5, 7)
_HIDDEN = 64
_STEPS = 600  # about, of Adam, for the MLP
_BATCH = 128


def linear() -> Pipeline:
    """Makes the linear probe: ridge regression."""
    return make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))


def mlp(rows: int) -> Pipeline:
    """Makes the MLP probe: one hidden layer, as many steps for few rows as for many."""
    epochs = max(1, min(200, round(_STEPS * _BATCH / max(rows, _BATCH))))
    model = MLPRegressor(
        (_HIDDEN,), alpha=0.01, batch_size=min(_BATCH, rows), max_iter=epochs, random_state=0,
        n_iter_no_change=epochs,
    )  # fmt: skip
    return make_pipeline(StandardScaler(), model)


@dataclass(frozen=True)
class Split:
    """Rows that probes are trained on, and judged on.

    Attributes:
        train: [a] int64.
        small: The share of `train` that is a small budget of labels.
        test: [b] int64.
    """

    train: np.ndarray
    small: np.ndarray
    test: np.ndarray

    @property
    def reason(self) -> str:
        """Why there is too little for a probe; empty where there is enough."""
        if len(self.train) >= _LEAST and len(self.test) >= _LEAST:
            return ""
        found = f"{len(self.train)} and {len(self.test)}"
        return f"fewer than {_LEAST} rows to train a probe on or to judge it on ({found})"


def split_rows(keys: np.ndarray, rows: np.ndarray | None = None) -> Split:
    """Divides rows by a hash of their keys.

    Args:
        keys: [n] strings; all rows of one key fall on one side.
        rows: Those that have a label; all by default.
    """
    place = hash_places(keys)
    rows = np.arange(len(keys)) if rows is None else rows
    rows = rows[np.argsort(place[rows], kind="stable")]
    is_test = place[rows] < TEST_SHARE
    train = rows[~is_test]
    return Split(train, train[: small_budget(len(train))], rows[is_test])


def small_budget(labels: int) -> int:
    """Returns how many of so many labels are a small budget."""
    return max(_LEAST, round(SMALL_SHARE * labels))


def hash_places(keys: np.ndarray) -> np.ndarray:
    """Returns for each string a number from 0 up to 1, even and fixed: [n] float64."""
    return hash_strings(pa.array(keys, pa.string())) / 2.0**64


def probed(
    split: Split,
    inputs: Callable[[np.ndarray], np.ndarray],
    target: np.ndarray,
    chosen: Callable[[np.ndarray], np.ndarray] = lambda rows: rows,
) -> Iterator[tuple[str, np.ndarray]]:
    """Trains every probe with every budget.

    Args:
        split: The rows.
        inputs: Rows -> [n, f], what a probe sees of them.
        target: [all rows, m] float.
        chosen: Rows of a budget -> those that are trained on, e.g. some of them repeatedly.

    Yields:
        The name of probe and budget, and predictions for the test rows, [b, m].
    """
    test = inputs(split.test)
    for budget, rows in (("all", split.train), ("5%", split.small)):
        rows = chosen(rows)
        seen, wanted = inputs(rows), target[rows]
        for name, probe in (("linear", linear()), ("mlp", mlp(len(rows)))):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                probe.fit(seen, wanted if wanted.shape[1] > 1 else wanted[:, 0])
            yield f"{name}/{budget}", probe.predict(test).reshape(len(test), -1)


def balanced(label: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what repeats rows until each class has about as many.

    Args:
        label: [all rows] int64.
    """

    def repeat(rows: np.ndarray) -> np.ndarray:
        _, of_class, count = np.unique(label[rows], return_inverse=True, return_counts=True)
        times = np.maximum(1, np.rint(len(rows) / (len(count) * count))).astype(np.int64)
        return np.repeat(rows, times[of_class])

    return repeat
