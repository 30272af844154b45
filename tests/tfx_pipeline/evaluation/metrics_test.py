"""Our TFMA metrics equal an independent computation, overall and by slice."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx_bsl.public import tfxio

from serving.sources.config import ScoringConfig
from serving.sources.neighbours import Neighbours
from tests.helpers.direct import direct
from tests.helpers.examples import example
from tests.tfx_pipeline.evaluation.lists import User
from tests.tfx_pipeline.evaluation.lists import random_users
from tests.tfx_pipeline.evaluation.lists import save_list_model
from tests.tfx_pipeline.evaluation.lists import write_candidates
from tests.tfx_pipeline.evaluation.lists import write_split
from tests.tfx_pipeline.evaluation.oracle import expected
from tfx_pipeline.evaluation.config import RANKED
from tfx_pipeline.evaluation.config import RetrievalEvaluationConfig
from tfx_pipeline.evaluation.eval_config import make_eval_config
from tfx_pipeline.evaluation.eval_config import with_data
from tfx_pipeline.evaluation.extraction import custom_extractors
from tfx_pipeline.evaluation.extraction import without_history
from tfx_pipeline.evaluation.metrics import OverNeighbours
from tfx_pipeline.evaluation.metrics import RankedAtK
from tfx_pipeline.evaluation.metrics.extracts import MostPopularPreprocessor
from tfx_pipeline.evaluation.metrics.ranking_sums import Outcome
from tfx_pipeline.evaluation.metrics.ranking_sums import RankingSums
from tfx_pipeline.evaluation.popularity import write_most_popular
from tfx_pipeline.evaluation.popularity import write_popularity
from tfx_pipeline.evaluation.report import read_failures
from tfx_pipeline.evaluation.report import read_metrics
from transforms import features as f

ITEMS, K = 40, 12
# Microseconds from which a candidate is available, of every other item.
LAUNCH = {f"movie:{i}": (i * 7) % 60 if i % 3 else 0 for i in range(0, ITEMS, 2)}
CONFIG = RetrievalEvaluationConfig(
    ks=(1, 3, 10, 20),
    list_k=3,
    min_users=1_000,
    beats_neighbours=0.9,
    slices=(
        (f.SLICE_ACTIVITY,),
        (f.SLICE_TARGET_POPULARITY,),
        (f.SLICE_ACTIVITY, f.SLICE_TARGET_POPULARITY),
    ),
)


def counts_of(users):
    return Counter(item for user in users for item in user.history)


def popular_for(users):
    """The most popular candidates for a user: every other item is none, some come later."""
    counts = counts_of(users)
    ranked = sorted(LAUNCH, key=lambda item: (-counts[item], list(LAUNCH).index(item)))

    def listed(user):
        return [item for item in ranked if LAUNCH[item] <= user.time and item not in user.history]

    return listed


def neighbour_weights(items=ITEMS):
    """Random neighbours of some items; many weights are equal."""
    generator = np.random.default_rng(3)
    names = sorted(f"movie:{i}" for i in range(items) if i % 5)
    weights = {}
    for name in names:
        size = int(generator.integers(0, 12))
        chosen = generator.choice(names, size, replace=False).tolist()
        values = -np.sort(-generator.integers(1, 16, size)) / 16
        weights[name] = dict(zip(chosen, values.tolist(), strict=True))
    return weights


def write_neighbours(directory):
    weights = neighbour_weights()
    names = list(weights)
    Neighbours(
        entity=pa.array(names),
        offsets=np.cumsum([0, *(len(of) for of in weights.values())]),
        neighbour=np.array([names.index(n) for of in weights.values() for n in of], np.int32),
        weight=np.array([w for of in weights.values() for w in of.values()], np.float16),
        events=np.ones(len(names), np.int64),
        info={"settings": {"event_types": ["*"]}},
    ).write(directory)


def neighbours_of(user):
    """The candidates by a double loop: three events, each half of the next newer one."""
    weights = neighbour_weights()
    scores = Counter()
    for steps, event in enumerate(list(user.history)[::-1][:3]):
        for name, weight in weights.get(event, {}).items():
            scores[name] += 0.5**steps * weight
    shown = [n for n in scores if n in LAUNCH and LAUNCH[n] <= user.time and n not in user.history]
    return sorted(shown, key=lambda name: (-scores[name], name))


def evaluate(directory, users, config):
    """Runs TFMA on hand-made lists and returns the output directory."""
    write_split(directory, "test", users)
    write_split(directory, "train", users)
    write_popularity(directory / "Split-train", directory / "popularity.parquet", 10**6)
    lists = {user.name: user.recommended for user in users}
    save_list_model(directory / "model", lists, K)
    write_candidates(directory / "candidates.parquet", LAUNCH)
    most_popular = str(directory / "most_popular.parquet")
    popularity = str(directory / "popularity.parquet")
    write_most_popular(popularity, directory / "candidates.parquet", most_popular)
    write_neighbours(directory / "neighbours")
    neighbours = {
        "neighbours": str(directory / "neighbours"),
        "candidates": str(directory / "candidates.parquet"),
        "scoring": ScoringConfig(decay=0.5, newest_events=3).to_json(),
    }
    eval_config = with_data(
        make_eval_config(config), ITEMS, popularity, most_popular, ("buy", "watch"), neighbours
    )
    model = tfma.default_eval_shared_model(str(directory / "model"), eval_config=eval_config)
    source = tfxio.TFExampleRecord(
        str(directory / "Split-test" / "*"),
        raw_record_column_name=tfma.ARROW_INPUT_COLUMN,
        telemetry_descriptors=["test"],
    )
    with direct("--direct_running_mode=in_memory") as pipeline:
        (
            pipeline
            | source.BeamSource()
            | tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=model,
                eval_config=eval_config,
                extractors=custom_extractors(model, eval_config),
                output_path=str(directory / "evaluation"),
            )
        )
    return directory / "evaluation"


@pytest.fixture(scope="module")
def users():
    first = User("nobody", history=["movie:1"], activity="10-49", recommended=["movie:1"])
    return [first, *random_users(count=150, items=ITEMS, k=K, seed=7)]


@pytest.fixture(scope="module")
def evaluation(users, tmp_path_factory):
    return evaluate(tmp_path_factory.mktemp("metrics"), users, CONFIG)


@pytest.fixture(scope="module")
def measured(evaluation):
    return read_metrics(evaluation)


def oracle(users, **more):
    counts = counts_of(users["all"])
    more |= {"popular": popular_for(users["all"]), "neighbours": neighbours_of}
    return expected(users["some"], CONFIG.ks, CONFIG.list_k, ITEMS, counts, **more)


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_overall(users, measured):
    wanted = oracle({"all": users, "some": users})
    assert wanted["users_without_target"] > 10 and 0.1 < wanted["hr@10"] < 0.9
    assert 0.1 < wanted["neighbours/hr@10"] < wanted["hr@10"] - 0.1
    assert_same(measured[""], wanted)


def test_slices_by_user(users, measured):
    for activity in ("1-9", "10-49"):
        some = [user for user in users if user.activity == activity]
        assert_same(
            measured[f"{f.SLICE_ACTIVITY}={activity}"], oracle({"all": users, "some": some})
        )


def of_group(group):
    return lambda user: [
        t for t, g in zip(user.targets, user.popularity, strict=True) if g == group
    ]


def test_a_slice_by_target_sees_its_targets_alone(users, measured):
    for group in ("head", "torso", "tail", "unseen"):
        targets_of = of_group(group)
        some = [user for user in users if targets_of(user)]
        wanted = oracle({"all": users, "some": some}, targets_of=targets_of)
        assert_same(measured[f"{f.SLICE_TARGET_POPULARITY}={group}"], wanted)
        crossed = [user for user in some if user.activity == "1-9"]
        wanted = oracle({"all": users, "some": crossed}, targets_of=targets_of)
        name = f"{f.SLICE_ACTIVITY}=1-9, {f.SLICE_TARGET_POPULARITY}={group}"
        assert_same(measured[name], wanted)


def test_everybody_is_asked_again_without_history(users, measured):
    # The list model knows users by their names, so it answers as before; nothing was seen.
    nobody_knows = [dataclasses.replace(user, history=(), activity="0") for user in users]
    for name, chosen in (
        ("", lambda user: user.targets),
        (f", {f.SLICE_TARGET_POPULARITY}=head", of_group("head")),
    ):
        some = [user for user in nobody_knows if chosen(user) or not name]
        wanted = expected(
            some,
            CONFIG.ks,
            CONFIG.list_k,
            ITEMS,
            counts_of(users),
            chosen,
            popular_for(users),
            neighbours_of,
        )
        assert_same(measured[f"{f.SLICE_ACTIVITY}=0{name}"], wanted)


def test_who_is_asked_again_has_no_part_of_the_history_and_had_one(users):
    example = tf.train.Example.FromString(users[3].serialised())
    example.features.feature["page/id"].bytes_list.value.append(b"p")
    kind = pa.large_list(pa.large_binary())

    def asked_again(*activity):
        columns = {
            tfma.ARROW_INPUT_COLUMN: [[example.SerializeToString()]] * len(activity),
            f.EVENT_ENTITY: [[b"movie:1"]] * len(activity),
            f.SLICE_ACTIVITY: [[name] for name in activity],
        }
        arrays = [pa.array(column, kind) for column in columns.values()]
        batch = pa.RecordBatch.from_arrays(arrays, list(columns))
        found = without_history({tfma.ARROW_RECORD_BATCH_KEY: batch})
        return [one[tfma.ARROW_RECORD_BATCH_KEY] for one in found]

    (changed,) = asked_again(b"1-9", b"0", b"10-49")
    assert changed.num_rows == 2 and f.EVENT_ENTITY not in changed.schema.names
    assert changed.column(f.SLICE_ACTIVITY).to_pylist() == [[b"0"]] * 2
    names = set(example.features.feature) - {"page/id"}
    for serialised in changed.column(tfma.ARROW_INPUT_COLUMN).flatten().to_pylist():
        left = set(tf.train.Example.FromString(serialised).features.feature)
        assert left == {name for name in names if not name.startswith("event/")}
    assert asked_again(b"0") == []


def test_context_that_chunks_repeat_is_counted_once(tmp_path):
    path = tmp_path / "Split-train"
    path.mkdir()
    chunks = [(["a", "b", "c"], 0), (["b", "c", "a"], 2), (["d"], 0)]
    with tf.io.TFRecordWriter(str(path / "data.gz"), "GZIP") as writer:
        for events, context in chunks:
            writer.write(example(**{f.EVENT_ENTITY: events, f.CONTEXT_LENGTH: context}))
    assert write_popularity(path, tmp_path / "counts.parquet", 10) == 4
    table = pq.read_table(tmp_path / "counts.parquet").to_pydict()
    counts = dict(zip(table["entity"], table["events"], strict=True))
    assert counts == {b"a": 2.0, b"b": 1.0, b"c": 1.0, b"d": 1.0}

    write_candidates(tmp_path / "candidates.parquet", {"e": 5, "b": 0, "a": 7, "c": 0})
    write_most_popular(
        tmp_path / "counts.parquet", tmp_path / "candidates.parquet", tmp_path / "popular.parquet"
    )
    assert pq.read_table(tmp_path / "popular.parquet").to_pydict() == {
        "entity": [b"a", b"b", b"c", b"e"],
        "available_from": [7, 0, 0, 5],
    }


def test_the_most_popular_are_read_as_far_as_they_are_shown(tmp_path):
    rng = np.random.default_rng(3)
    moments = np.where(rng.random(300) < 0.9, rng.integers(1, 50, 300), 0)
    names = [b"%d" % rank for rank in range(300)]
    pq.write_table(
        pa.table({"entity": names, "available_from": moments}), tmp_path / "popular.parquet"
    )
    ranked = MostPopularPreprocessor(str(tmp_path / "popular.parquet"), 4, ["*"], "", "")
    for moment in (0, 1, 2, 25, 100):
        seen = {names[rank] for rank in rng.integers(0, 300, 40)} | {names[0], b"unknown"}
        targets = {names[rank] for rank in rng.integers(0, 60, 12)} | {b"unknown"}
        shown = [
            name
            for name, start in zip(names, moments, strict=True)
            if name not in seen and not 0 < moment < start
        ]
        features = {f.EVENT_ENTITY: np.array(sorted(seen)), f.REQUEST_TIME: np.array([moment])}
        (outcome,) = ranked.process(
            {tfma.LABELS_KEY: np.array(sorted(targets)), tfma.FEATURES_KEY: features}
        )
        assert outcome.ranks == tuple(at for at, name in enumerate(shown[:4]) if name in targets)
        assert outcome.targets == len(targets)


def test_too_few_users_and_too_small_a_lead_are_refused(users, measured, evaluation, capfd):
    tested = sum(bool(user.targets) for user in users)
    lead = measured[""]["over_neighbours/hr@10"]
    assert sorted(read_failures(evaluation)) == [
        f"hr@10 is {lead:.4g} above what counting neighbours gives (`neighbours/hr@10`), and "
        "`retrieval.evaluation.beats_neighbours` asks for at least +0.9",
        f"only {tested} test users have a target, and `retrieval.evaluation.min_users` asks "
        "for 1000: over so few, the metrics are mostly chance",
    ]
    assert "deprecated" not in capfd.readouterr().err


def test_no_other_slices(measured):
    assert len(measured) == 1 + 3 + 4 + 3 * 4


def test_a_miss_beyond_the_list_counts():
    # Four users with one target each, one hit at place 2: TFMA's own Recall leaves three out.
    sums = RankingSums(10)
    sums.add([Outcome((1,), 1, 0), Outcome((), 1, 0), Outcome((10,), 1, 0), Outcome((), 1, 0)])
    assert sums.mean("hr") == 0.25
    assert sums.mean("ndcg") == pytest.approx(0.25 / math.log2(3))
    assert sums.mean("mrr") == pytest.approx(0.125)


@pytest.mark.parametrize("name", RANKED)
def test_every_ranked_metric_has_a_sum_and_a_configuration(name):
    sums = RankingSums(10)
    sums.add([Outcome((0,), 1, 0)])  # the only target comes first
    assert sums.mean(name) == 1.0
    metric = RankedAtK(name, k=5)
    assert metric.get_config() == {"name": f"{name}@5", "k": 5, "value": name}
    assert RankedAtK.from_config(metric.get_config()).get_config() == metric.get_config()


def test_sums_do_not_depend_on_how_users_are_divided():
    outcomes = [Outcome(tuple(range(i % 4)), 1 + i % 5, i % 2) for i in range(23)]
    whole, halves, other = RankingSums(2), RankingSums(2), RankingSums(2)
    whole.add(outcomes)
    halves.add(outcomes[:11])
    other.add(outcomes[11:])
    halves.merge(other)
    assert vars(halves) == pytest.approx(vars(whole))


def test_nobody_to_evaluate():
    sums = RankingSums(10)
    sums.add([Outcome((), 0, 0)])
    assert math.isnan(sums.mean("hr")) and sums.without_target == 1 and sums.users == 0


def test_a_lead_has_a_configuration():
    metric = OverNeighbours("hr", k=5, name="over_neighbours/hr@5", neighbours={"scoring": "{}"})
    assert OverNeighbours.from_config(metric.get_config()).get_config() == metric.get_config()


@pytest.mark.slow
def test_confidence_intervals(tmp_path, users):
    config = CONFIG.model_copy(update={"confidence_intervals": True, "slices": ()})
    output = evaluate(tmp_path, users, config)
    wanted = oracle({"all": users, "some": users})
    assert_same(read_metrics(output)[""], wanted)
    (record,) = tfma.load_metrics(str(output))
    (hit_rate,) = [m for m in record.metric_keys_and_values if m.key.name == "hr@10"]
    interval = hit_rate.confidence_interval
    spread = interval.upper_bound.double_value.value - interval.lower_bound.double_value.value
    share, number = wanted["hr@10"], wanted["users"]
    usual = 2 * 2.09 * math.sqrt(share * (1 - share) / number)  # t with 19 degrees of freedom
    assert 0.5 * usual < spread < 2 * usual


def test_a_model_that_is_no_retrieval_model_is_named():
    from tfx_pipeline.evaluation.metrics.extracts import OutcomePreprocessor

    extracts = {"labels": [b"a"], "predictions": {"embedding": [1.0]}, "features": {}}
    with pytest.raises(ValueError, match="classes.*embedding"):
        list(OutcomePreprocessor().process(extracts))


def test_users_are_serialised_without_targets_when_they_have_none():
    assert b"target" not in User("u", ["movie:1"]).serialised()
