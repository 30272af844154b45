"""Batches of pages become candidates by user and slice, whatever the batches."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow_model_analysis as tfma

from tests.tfx_pipeline.evaluation.click_oracle import expected
from tests.tfx_pipeline.evaluation.click_oracle import rows_of
from tests.tfx_pipeline.evaluation.page_views import random_page_views
from tfx_pipeline.evaluation.metrics.clicks import CANDIDATES
from tfx_pipeline.evaluation.metrics.clicks import LABEL
from tfx_pipeline.evaluation.metrics.clicks import PAGE
from tfx_pipeline.evaluation.metrics.clicks import Rows
from tfx_pipeline.evaluation.metrics.clicks import scores_of
from tfx_pipeline.evaluation.metrics.clicks import values_of
from tfx_pipeline.evaluation.page_extraction import candidates_by_user
from tfx_pipeline.evaluation.page_extraction import join_pages
from tfx_pipeline.evaluation.page_extraction import read_pages
from tfx_pipeline.evaluation.page_extraction import slice_candidates
from transforms import features as f
from transforms.arrow import pa

BATCH = {
    tfma.ARROW_INPUT_COLUMN: [[b"1"], [b"2"], [b"3"]],
    f.USER_ID: [[b"a"], [b"b"], [b"a"]],
    f.LABEL_EVENTS: [[1, 0], [2], [0, 0, 3]],
    f.CANDIDATE_POSITION: [[0, 4], [12], [1, 3, -1]],
    f.SLICE_QUERY: [[b"with"], None, [b"without"]],
    f.SLICE_CANDIDATE_AGE: [[b"new", b"old"], [b"old"], [b"old", b"new", b"old"]],
}
SLICES = (f.SLICE_QUERY, f.SLICE_CANDIDATE_AGE, "slice/position")


def batch(**changed):
    columns = {name: pa.array(values) for name, values in (BATCH | changed).items()}
    return {tfma.ARROW_RECORD_BATCH_KEY: pa.RecordBatch.from_pydict(columns)}


def candidates(extracts, predictions, outputs=("scores",), models=(("", False),)):
    made = {**extracts, tfma.PREDICTIONS_KEY: predictions}
    return dict(candidates_by_user(made, dict(models), outputs))


def test_a_batch_is_read_as_padded_columns():
    read = read_pages(batch(), SLICES)
    assert read[tfma.INPUT_KEY].tolist() == [b"1", b"2", b"3"]
    columns = read[tfma.FEATURES_KEY]
    assert columns[LABEL].tolist() == [[1, 0, -1], [2, -1, -1], [0, 0, 3]]
    assert columns[f.SLICE_QUERY].tolist() == [b"with", b"", b"without"]
    assert columns["slice/position"].tolist() == [
        [b"0", b"4-9", b""],
        [b"10+", b"", b""],
        [b"1-3", b"1-3", b""],
    ]


def test_users_get_the_candidates_of_their_pages():
    scores = np.arange(9, dtype=np.float32).reshape(3, 3) / 10
    found = candidates(read_pages(batch(), SLICES), scores)
    assert set(found) == {b"a", b"b"}
    assert found[b"a"][PAGE].tolist() == [0, 0, 2, 2, 2]
    assert found[b"a"][LABEL].tolist() == [1, 0, 0, 0, 3]
    assert found[b"a"][scores_of("")][:, 0] == pytest.approx([0.0, 0.1, 0.6, 0.7, 0.8])
    assert found[b"b"][f.SLICE_QUERY].tolist() == [b""]


def test_slices_hold_their_candidates_alone():
    found = candidates(read_pages(batch(), SLICES), np.zeros((3, 3), np.float32))
    slices = [(), (f.SLICE_QUERY,), (f.SLICE_QUERY, f.SLICE_CANDIDATE_AGE)]
    sliced = {
        key: one[CANDIDATES]
        for one in slice_candidates(found[b"a"], slices)
        for key in one[tfma.SLICE_KEY_TYPES_KEY]
    }
    assert sliced[()][PAGE].tolist() == [0, 0, 1, 1, 1]
    assert sliced[(f.SLICE_QUERY, "with"),][LABEL].tolist() == [1, 0]
    old = ((f.SLICE_QUERY, "without"), (f.SLICE_CANDIDATE_AGE, "old"))
    assert sliced[old][LABEL].tolist() == [0, 3]
    assert len(sliced) == 1 + 2 + 4
    (alone,) = slice_candidates(found[b"b"], slices)  # no query, so no slice of queries
    assert alone[tfma.SLICE_KEY_TYPES_KEY].tolist() == [()]


def test_a_feature_of_another_length_is_named():
    with pytest.raises(ValueError, match="candidate_age.* 6 candidates of 3 pages.* received 2"):
        read_pages(batch(**{f.SLICE_CANDIDATE_AGE: [[b"new"], [b"old"], None]}), SLICES)
    with pytest.raises(ValueError, match="at most one value of `slice/query`.* received 4"):
        read_pages(batch(**{f.SLICE_QUERY: [[b"x", b"y"], [b"x"], [b"y"]]}), SLICES)


def test_a_model_that_is_no_ranker_is_named():
    read = read_pages(batch(), ())
    for predictions in (np.zeros(3, np.float32), {"classes": np.zeros((3, 2))}):
        with pytest.raises(ValueError, match=r"answers with \['scores'\].*serving_default"):
            candidates(read, predictions)


def test_the_served_model_may_lack_a_head_and_the_candidate_may_not():
    read, scores = read_pages(batch(), ()), np.zeros((3, 3), np.float32)
    both = {"new": {"scores": scores, "buy": scores}, "old": scores}
    models = (("new", False), ("old", True))
    found = candidates(read, both, ("scores", "buy"), models)
    served = found[b"a"][scores_of("old")]
    assert (served[:, 0] == 0).all() and np.isnan(served[:, 1]).all()
    assert np.isnan(values_of(rows(found[b"a"], "old", 1))["auc"])
    with pytest.raises(ValueError, match="buy"):
        candidates(read, scores, ("scores", "buy"))


def rows(columns, model="", bit=0):
    _, page = np.unique(columns[PAGE], return_inverse=True)
    label = (columns[LABEL] >> bit & 1).astype(np.int8)
    return Rows(np.zeros(page.size, np.int64), page, columns[scores_of(model)][:, bit], label)


@pytest.mark.parametrize("size", [1, 7, 90])
def test_metrics_do_not_depend_on_how_pages_come_in_batches(size):
    pages = random_page_views(count=90, users=20, seed=3)
    generator = np.random.default_rng(4)
    scores = np.round(generator.random((len(pages), 8)), 1).astype(np.float32)
    by_user = {}
    for start in range(0, len(pages), size):
        some = pages[start : start + size]
        columns = {
            tfma.ARROW_INPUT_COLUMN: [[b""]] * len(some),
            f.USER_ID: [[page.user.encode()] for page in some],
            f.LABEL_EVENTS: [page.labels for page in some],
        }
        made = pa.RecordBatch.from_pydict({k: pa.array(v) for k, v in columns.items()})
        read = read_pages({tfma.ARROW_RECORD_BATCH_KEY: made}, ())
        for user, part in candidates(read, scores[start : start + size]).items():
            by_user.setdefault(user, []).append(part)
    users = [rows(join_pages(parts)) for parts in by_user.values()]
    half = len(users) // 2
    found = values_of(Rows.join([Rows.join(users[:half]), *users[half:], Rows.join([])]))

    wanted = expected(rows_of(list(zip(pages, scores, strict=True)), 0))
    wanted |= {"users": len(by_user), "pages": len(pages)}
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_nothing_to_measure_has_no_value():
    found = values_of(Rows.join([]))
    assert found["pages"] == 0 and np.isnan(found["log_loss"]) and np.isnan(found["page_ndcg"])
