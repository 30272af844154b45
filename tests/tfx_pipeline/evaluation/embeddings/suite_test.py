"""The suite on a simulated shop, whose truth says in what order embeddings come."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tfx_pipeline.cli import cli
from tfx_pipeline.datasets.division import divide_log
from tfx_pipeline.datasets.shop import ShopConfig
from tfx_pipeline.datasets.shop import prepare_shop
from tfx_pipeline.datasets.shop.vectors import true_items
from tfx_pipeline.datasets.shop.vectors import true_users
from tfx_pipeline.evaluation.embeddings import pair_tasks
from tfx_pipeline.evaluation.embeddings import probes
from tfx_pipeline.evaluation.embeddings import suite as module
from tfx_pipeline.evaluation.embeddings.log import read_divided
from tfx_pipeline.evaluation.embeddings.suite import Suite
from tfx_pipeline.evaluation.embeddings.suite import constant_embeddings
from tfx_pipeline.evaluation.embeddings.suite import random_embeddings
from tfx_pipeline.evaluation.embeddings.vectors import Embeddings
from tfx_pipeline.evaluation.embeddings.vectors import Vectors
from tfx_pipeline.evaluation.embeddings.vectors import read_embeddings
from tfx_pipeline.evaluation.embeddings.vectors import write_embeddings
from tfx_pipeline.report.embeddings import as_text
from tfx_pipeline.report.embeddings import render_embeddings

NOISE = {"truth": 0.0, "noisy": 1.0}  # in deviations of a column


@pytest.fixture(scope="module", autouse=True)
def short_training():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "_STEPS", 60)
        patch.setattr(module, "REFERENCES", 1)
        patch.setattr(pair_tasks, "MOST_RATED", (1000, 1000))
        yield


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    root = tmp_path_factory.mktemp("embeddings")
    config = ShopConfig(users=350, items=250, images=False)
    prepare_shop(root / "shop", config, workers=1)
    divide_log(root / "shop", root / "divided", share=0.3)
    return root


@pytest.fixture(scope="module")
def embeddings(shop):
    users, wants, weights = true_users(shop / "shop")
    items, are = true_items(shop / "shop")
    rng = np.random.default_rng(0)

    def noisy(values, noise):
        deviation = values.reshape(-1, values.shape[-1]).std(axis=0)
        return (values + noise * deviation * rng.standard_normal(values.shape)).astype("f")

    return {
        name: Embeddings(
            name,
            Vectors(np.array(users, object), noisy(wants, noise), weights.astype("f")),
            Vectors(np.array([f"item:{i}" for i in items], object), noisy(are, noise)[:, None]),
        )
        for name, noise in NOISE.items()
    }


@pytest.fixture(scope="module")
def suite(shop):
    return Suite(read_divided(shop / "divided", ["item"]))


@pytest.fixture(scope="module")
def scored(suite, embeddings):
    drawn = random_embeddings(suite.log, seed=5)
    return {name: suite.score(one) for name, one in [*embeddings.items(), ("random", drawn)]}


def test_the_shop_has_every_task(suite):
    assert not suite.without
    assert list(suite.reference) == [task.name for task in module.TASKS]


def test_embeddings_come_in_the_order_of_the_truth_in_them(scored):
    scores = [scored[name].score.value for name in (*NOISE, "random")]
    assert (-np.diff(scores) > 0.03).all()
    # An interval of the random ones holds no task's truth that is read off directly.
    for task in ("item_category", "item_demand", "item_relatedness", "next_item"):
        assert scored["truth"].values[task].low > scored["random"].values[task].value


def test_random_embeddings_have_no_skill(scored):
    assert scored["random"].score.value == pytest.approx(0, abs=0.05)


def test_a_score_is_the_mean_skill_and_lies_in_its_interval(suite, scored):
    for one in scored.values():
        skills = [
            (one.values[name].value - chance) / (1 - chance)
            for name, chance in suite.reference.items()
        ]
        assert one.score.value == pytest.approx(np.mean(skills))
        assert one.score.low < one.score.value < one.score.high


def test_missing_rows_count_as_zeros(suite, embeddings, scored):
    whole = embeddings["truth"]
    quick = ("look_alike", "item_demand", "item_relatedness", "next_item")
    suite = Suite(suite.log, [suite.tasks[name] for name in quick])
    half = Vectors(*(values[::2] for values in vars(whole.users).values()))
    found = suite.score(Embeddings("half", half, whole.items))
    known = set(half.keys)
    assert found.missing_users == sum(user not in known for user in suite.log.users)
    assert found.missing_items == 0
    truth = scored["truth"].values
    assert found.values["item_demand"] == truth["item_demand"]
    assert found.values["next_item"].value < 0.8 * truth["next_item"].value


def test_what_needs_a_table_that_is_not_there_is_not_measured(suite, embeddings, scored):
    whole = embeddings["truth"]
    quick = ("look_alike", "item_demand", "item_relatedness", "next_item")
    suite = Suite(suite.log, [suite.tasks[name] for name in quick])
    users = suite.score(Embeddings("users", whole.users, None))
    assert users.missing_items == len(suite.log.items)
    assert users.values == {"look_alike": scored["truth"].values["look_alike"]}
    assert users.score is None
    items = suite.score(Embeddings("items", None, whole.items))
    assert set(items.values) == {"item_demand", "item_relatedness"} and items.score is None
    for written in (as_text(suite, [users, items]), render_embeddings(suite, [items, users])):
        assert "users has not both users and items" in written
    with pytest.raises(ValueError, match="None of the users of `x` is in the log"):
        other = Vectors(np.array(["user:0"], object), whole.users.vectors[:1])
        suite.score(Embeddings("x", other, whole.items))


def test_zeros_tell_less_than_the_truth_and_their_ties_are_chance(suite, scored):
    found = suite.score(constant_embeddings(suite.log))
    assert found.values["item_relatedness"].value == pytest.approx(0.5)
    assert found.score.value < scored["truth"].score.value


def test_embeddings_of_more_events_than_are_known_are_warned_of(suite, embeddings, tmp_path):
    one = embeddings["truth"]
    write_embeddings(one, tmp_path)
    manifest = {"log": {"rows": {"events": suite.log.events + 1}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    quick = Suite(suite.log, [suite.tasks["item_relatedness"]])
    told = as_text(quick, [quick.score(read_embeddings(tmp_path, "late"))])
    assert f"late was made from {suite.log.events + 1:,} events" in told
    assert "Warning" not in as_text(quick, [quick.score(one)])


def test_the_command_writes_a_table_json_and_a_page(shop, embeddings, monkeypatch):
    quick = [task for task in module.TASKS if task.name in ("item_relatedness", "next_item")]
    monkeypatch.setattr(Suite.__init__, "__defaults__", (quick,))
    for name in ("truth", "noisy"):
        write_embeddings(embeddings[name], shop / name)
    arguments = ["benchmark-embeddings", f"best={shop / 'truth'}", str(shop / "noisy")]
    arguments += ["--log", str(shop / "divided"), "--out", str(shop / "out"), "--type", "item"]
    found = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    content = json.loads((shop / "out" / "embeddings.json").read_text())
    best, noisy, constant = content["rows"]
    assert [row["embedding"] for row in content["rows"]] == ["best", "noisy", "constant"]
    assert best["score"]["value"] > noisy["score"]["value"]
    line = next(one for one in found.output.splitlines() if one.startswith("score"))
    assert line.split()[-3:] == [f"{row['score']['value']:.4f}" for row in content["rows"]]
    page = (shop / "out" / "embeddings.html").read_text()
    assert page.index('<th scope="row">best</th>') < page.index('<th scope="row">noisy</th>')
    assert f"{best['values']['next_item']['value']:.4f}" in page
    assert "recall@50 (not counted)" in page and "://" not in page and "<script" not in page


def test_names_must_differ(shop, embeddings):
    write_embeddings(embeddings["truth"], shop / "truth")
    places = [str(shop / "truth")] * 2
    arguments = ["benchmark-embeddings", *places, "--log", str(shop / "divided")]
    with pytest.raises(ValueError, match="Names must differ"):
        CliRunner().invoke(cli, arguments, catch_exceptions=False)
