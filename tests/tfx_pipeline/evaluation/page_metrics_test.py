"""Metrics of ranking equal an independent computation, overall and by slice."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx_bsl.public import tfxio

from tests.helpers.direct import direct
from tests.helpers.examples import write_examples
from tests.tfx_pipeline.evaluation.click_oracle import counts
from tests.tfx_pipeline.evaluation.click_oracle import expected
from tests.tfx_pipeline.evaluation.click_oracle import rows_of
from tests.tfx_pipeline.evaluation.page_views import PageView
from tests.tfx_pipeline.evaluation.page_views import random_page_views
from tests.tfx_pipeline.evaluation.page_views import save_rounded_ranker
from tests.tfx_pipeline.evaluation.page_views import save_table_ranker
from tests.tfx_pipeline.evaluation.page_views import train_timelines
from tfx_pipeline.evaluation.click_rates import PRIOR
from tfx_pipeline.evaluation.click_rates import write_click_rates
from tfx_pipeline.evaluation.config import RankingEvaluationConfig
from tfx_pipeline.evaluation.page_eval_config import make_page_eval_config
from tfx_pipeline.evaluation.page_eval_config import with_click_rates
from tfx_pipeline.evaluation.page_extraction import custom_extractors
from tfx_pipeline.evaluation.report import read_failures
from tfx_pipeline.evaluation.report import read_metrics
from transforms import features as f

CONFIG = RankingEvaluationConfig.model_validate(
    {
        "label": {"events": ["click", "buy"]},
        "min_users": 1_000,
        "slices": [
            [f.SLICE_HISTORY],
            [f.SLICE_QUERY],
            ["slice/position"],
            [f.SLICE_CANDIDATE_POPULARITY],
            [f.SLICE_CANDIDATE_AGE],
            [f.SLICE_HISTORY, f.SLICE_CANDIDATE_AGE],
        ],
    }
)


def evaluate(directory, model, config):
    """Runs TFMA on the page examples of a directory and returns where it wrote."""
    rates = str(directory / "click_rates.parquet")
    write_click_rates(directory / "Split-train", rates, config.label, 10**6)
    eval_config = with_click_rates(make_page_eval_config(config), rates)
    shared = tfma.default_eval_shared_model(str(model), eval_config=eval_config)
    source = tfxio.TFExampleRecord(
        str(directory / "Split-test_pages" / "*"),
        raw_record_column_name=tfma.ARROW_INPUT_COLUMN,
        telemetry_descriptors=["test"],
    )
    with direct("--direct_running_mode=in_memory") as pipeline:
        (
            pipeline
            | source.BeamSource(batch_size=64)
            | tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=shared,
                eval_config=eval_config,
                extractors=custom_extractors(shared, eval_config),
                output_path=str(directory / "evaluation"),
            )
        )
    return directory / "evaluation"


@pytest.fixture(scope="module")
def pages():
    return random_page_views(count=300, users=60, seed=5)


@pytest.fixture(scope="module")
def work(pages, tmp_path_factory):
    """Page examples, training timelines and an exported ranker."""
    work = tmp_path_factory.mktemp("ranking")
    examples = {"test_pages": [page.serialised() for page in pages]}
    write_examples(work, examples | {"train": train_timelines(seed=1)}, shards=2)
    save_rounded_ranker(work / "training", work / "model", CONFIG.label.events)
    return work


@pytest.fixture(scope="module")
def evaluation(work):
    return evaluate(work, work / "model", CONFIG)


@pytest.fixture(scope="module")
def measured(evaluation):
    return read_metrics(evaluation)


@pytest.fixture(scope="module")
def scored(work, pages):
    """By prefix and head, pages and the scores of their candidates."""
    ranker = tf.saved_model.load(str(work / "model")).signatures["serving_default"]
    answers = ranker(examples=tf.constant([page.serialised() for page in pages]))
    found = {
        ("", bit): list(zip(pages, answers[head].numpy(), strict=True))
        for bit, head in enumerate(("scores", "buy"))
    }
    for bit in (0, 1):
        rate = click_rate_by_hand(bit)
        popular = [[rate(item) for item in page.candidates] for page in pages]
        found["most_popular/", bit] = list(zip(pages, popular, strict=True))
    return found


def click_rate_by_hand(bit):
    shown, positive = Counter(), Counter()
    for serialised in train_timelines(seed=1):
        feature = tf.train.Example.FromString(serialised).features.feature
        entities = feature[f.IMPRESSION_ENTITY].bytes_list.value
        labels = feature[f.IMPRESSION_EVENTS].int64_list.value
        shown.update(entity.decode() for entity in entities)
        positive.update(
            e.decode() for e, label in zip(entities, labels, strict=True) if label >> bit & 1
        )
    mean = (positive.total() + 1) / (shown.total() + 2)
    return lambda item: (positive[item] + PRIOR * mean) / (shown[item] + PRIOR)


def oracle(scored, keep=lambda *_: True):
    """Every metric of both heads, and those of popularity beside them."""
    wanted = counts(rows_of(scored["", 0], 0, keep))
    for (prefix, bit), pages in scored.items():
        found = expected(rows_of(pages, bit, keep), "/buy" if bit else "")
        wanted |= {
            prefix + name: value
            for name, value in found.items()
            if not prefix or not name.startswith("positives")
        }
    return wanted


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_overall(pages, scored, measured):
    wanted = oracle(scored)
    assert_same(measured[""], wanted)

    # The pages are hard ones: ties, users without positives, pages with one candidate.
    assert wanted["auc"] != pytest.approx(wanted["gauc"], abs=1e-5)
    assert any(len(set(scores[: len(p.labels)])) < len(p.labels) for p, scores in scored["", 0])
    clicked = {page.user for page in pages if any(page.labels)}
    assert len(clicked) < len({page.user for page in pages})
    assert min(len(page.labels) for page in pages) == 1


@pytest.mark.parametrize("value", ["0", "1-3", "4-9"])
def test_slices_of_pages_hold_all_their_candidates(scored, measured, value):
    wanted = oracle(scored, lambda page, _: page.history_slice == value)
    assert_same(measured[f"slice/history={value}"], wanted)


@pytest.mark.parametrize("value", ["with", "without"])
def test_pages_with_a_query(scored, measured, value):
    wanted = oracle(scored, lambda page, _: bool(page.query) == (value == "with"))
    assert_same(measured[f"slice/query={value}"], wanted)


@pytest.mark.parametrize("value", ["head", "tail", "unseen"])
def test_slices_of_candidates_leave_the_others_out(scored, measured, value):
    wanted = oracle(scored, lambda page, place: page.popularity[place] == value)
    assert_same(measured[f"slice/candidate_popularity={value}"], wanted)
    assert wanted["candidates"] < measured[""]["candidates"] / 2


@pytest.mark.parametrize(("value", "first", "last"), [("0", 0, 0), ("1-3", 1, 3), ("10+", 10, 99)])
def test_positions_come_in_ranges(scored, measured, value, first, last):
    wanted = oracle(scored, lambda page, place: first <= page.positions[place] <= last)
    assert_same(measured[f"slice/position={value}"], wanted)


def test_slices_are_crossed(scored, measured):
    wanted = oracle(scored, lambda page, n: page.history_slice == "0" and page.age[n] == "new")
    assert_same(measured["slice/candidate_age=new, slice/history=0"], wanted)


def test_no_other_slices(measured):
    assert len(measured) == 1 + 3 + 2 + 4 + 3 + 2 + 3 * 2


def test_too_few_users_are_refused(pages, evaluation):
    users = len({page.user for page in pages})
    failures = read_failures(evaluation)
    assert (
        f"only {users} test users have a page, and `ranking.evaluation.min_users` asks "
        "for 1000: over so few, the metrics are mostly chance"
    ) in failures


@pytest.fixture
def one_page(tmp_path):
    """A run over pages written by hand, with one head and a table of scores."""

    def run(*views, scores, **config):
        write_examples(tmp_path, {"test_pages": [view.serialised() for view in views]})
        write_examples(tmp_path, {"train": train_timelines(seed=1)})
        save_table_ranker(tmp_path / "model", scores)
        made = RankingEvaluationConfig.model_validate({"min_users": 1, "slices": [], **config})
        return evaluate(tmp_path, tmp_path / "model", made)

    return run


def test_one_head_by_hand(one_page):
    views = [
        PageView("a", ["item:1", "item:2", "item:3"], [0, 1, 0]),
        PageView("a", ["item:3"], [1]),
        PageView("b", ["item:1", "item:2"], [0, 0]),
    ]
    output = one_page(*views, scores={"item:1": 0.5, "item:2": 0.25, "item:3": 0.25})
    found = read_metrics(output)[""]
    # User a: positives .25 and .25 against .5 and .25: 2 ties of 4 pairs.
    assert found["gauc"] == pytest.approx(0.25)
    assert found["auc"] == pytest.approx(0.25)  # with b's negatives 4 ties of 8 pairs
    assert found["calibration"] == pytest.approx((0.5 + 0.25 * 3 + 0.5 + 0.25) / 2)
    shared = (1 / math.log2(3) + 1 / math.log2(4)) / 2  # the positive is second or third
    assert found["page_ndcg"] == pytest.approx((shared + 1) / 2)
    assert (found["users"], found["pages"], found["candidates"]) == (2, 3, 6)
    assert found["positives"] == 2


def test_no_model_is_blessed_that_orders_at_random(one_page):
    view = PageView("a", ["item:1", "item:2"], [0, 1])
    output = one_page(view, scores={"item:1": 0.5, "item:2": 0.5})
    assert read_failures(output) == [
        "auc is 0.5: a model that orders candidates no better than chance is not pushed, whatever "
        "the thresholds; see that the test has pages with and without clicks, and what the model "
        "reads"
    ]


@pytest.mark.slow
def test_confidence_intervals_draw_users(one_page):
    """Equal pages of a user say no more than one of them."""
    generator = np.random.default_rng(0)
    scores = {f"item:{i}": float(p) for i, p in enumerate(np.linspace(0.05, 0.95, 20))}
    views = []
    for user in range(80):
        items = [f"item:{i}" for i in generator.choice(20, 6, replace=False)]
        labels = [int(generator.random() < scores[item]) for item in items]
        rare = ["rare" if user == 0 else ""] * 6
        views += [PageView(f"u{user}", items, labels, popularity=rare)] * 10
    output = one_page(
        *views,
        scores=scores,
        confidence_intervals=True,
        slices=[[f.SLICE_CANDIDATE_POPULARITY]],
    )
    users = [expected(rows_of([(view, [scores[i] for i in view.candidates])], 0)) for view in views]
    gaucs = [one["gauc"] for one in users[::10] if "gauc" in one]
    measured = read_metrics(output)
    assert measured[""]["gauc"] == pytest.approx(np.mean(gaucs), abs=1e-6)
    assert measured["slice/candidate_popularity=rare"]["users"] == 1.0

    records = tfma.load_metrics(str(output))
    (overall,) = [one for one in records if not one.slice_key.single_slice_keys]
    values = {one.key.name: one for one in overall.metric_keys_and_values}
    interval = values["gauc"].confidence_interval
    spread = interval.upper_bound.double_value.value - interval.lower_bound.double_value.value
    usual = 2 * 2.09 * np.std(gaucs) / math.sqrt(len(gaucs))  # t with 19 degrees of freedom
    assert 0.5 * usual < spread < 2 * usual  # pages alone would give a third of it
