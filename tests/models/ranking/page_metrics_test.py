import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from models.ranking.calibration import platt_scaling
from models.ranking.page_metrics import auc
from models.ranking.page_metrics import calibration
from models.ranking.page_metrics import grouped_auc
from models.ranking.page_metrics import log_loss


@pytest.fixture(name="rows")
def make_rows():
    generator = np.random.default_rng(0)
    scores = np.round(generator.normal(size=500), 1)  # many ties
    labels = (generator.random(500) < 1 / (1 + np.exp(-scores))).astype(float)
    return labels, scores, generator.integers(0, 60, 500)


def test_auc_by_hand():
    labels = np.array([1, 0, 1, 0])
    # Pairs (.8, .8) tie, (.8, .1), (.3, .8) wrong, (.3, .1): 2.5 of 4.
    assert auc(labels, np.array([0.8, 0.8, 0.3, 0.1])) == pytest.approx(2.5 / 4)


def test_auc_and_log_loss_equal_a_library(rows):
    labels, scores, _ = rows
    p = 1 / (1 + np.exp(-scores))

    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert log_loss(labels, p) == pytest.approx(sklearn_log_loss(labels, p), abs=1e-9)


def test_grouped_auc_weights_users_by_their_rows_and_leaves_out_one_sided_ones(rows):
    labels, scores, users = rows
    total = weight = 0.0
    for user in np.unique(users):
        own = users == user
        if 0 < labels[own].sum() < own.sum():
            total += roc_auc_score(labels[own], scores[own]) * own.sum()
            weight += own.sum()

    assert grouped_auc(labels, scores, users) == pytest.approx(total / weight, abs=1e-12)
    assert np.isnan(grouped_auc(np.ones(3), np.arange(3.0), np.arange(3)))
    assert np.isnan(grouped_auc(np.zeros(0), np.zeros(0), np.zeros(0)))


def test_the_auc_of_one_group_is_the_auc(rows):
    labels, scores, _ = rows
    one = np.full(labels.size, 7)
    assert grouped_auc(labels, scores, one) == pytest.approx(auc(labels, scores), abs=1e-12)


def test_calibration_is_predicted_over_actual():
    assert calibration(np.array([1, 0, 0, 1]), np.array([0.5, 0.5, 0.25, 0.25])) == 0.75
    assert np.isnan(calibration(np.array([0, 0]), np.array([0.5, 0.25])))


def test_platt_scaling_finds_the_maximum_of_the_likelihood(rows):
    labels, scores, _ = rows
    logits = 3.0 * scores - 2.0  # too steep and shifted

    def objective(weight):
        z = weight[0] * logits + weight[1]
        return np.mean(np.logaddexp(0, z) - labels * z)

    expected = minimize(objective, [1.0, 0.0], method="BFGS", options={"gtol": 1e-10}).x
    assert platt_scaling(logits, labels) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("labels", [np.zeros(4), np.ones(4)])
def test_labels_of_one_kind_calibrate_nothing(labels):
    assert platt_scaling(np.arange(4.0), labels) == (1.0, 0.0)


def test_a_calibration_never_turns_the_order_around():
    logits, labels = np.arange(100.0), (np.arange(100) < 50).astype(float)
    assert platt_scaling(logits, labels) == (1.0, 0.0)
