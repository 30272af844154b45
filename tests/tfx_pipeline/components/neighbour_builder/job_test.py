from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np
import pytest

from serving.index.embedding.records import split_files
from serving.sources import neighbours
from serving.sources.config import CountingConfig
from serving.sources.neighbours import Neighbours
from tests.helpers.direct import direct
from tests.helpers.examples import catalogue_row
from tests.helpers.examples import example
from tests.tfx_pipeline.components.neighbour_builder import oracle
from tfx_pipeline.components.neighbour_builder import job
from tfx_pipeline.components.neighbour_builder import timelines
from tfx_pipeline.components.neighbour_builder.entities import Entities
from tfx_pipeline.components.neighbour_builder.entities import MergeEntities
from tfx_pipeline.components.neighbour_builder.pairs import add_up
from tfx_pipeline.components.timeline_example_gen.messages import Store
from tfx_pipeline.components.timeline_example_gen.messages import unpack
from transforms import features as f

ONE = ("--direct_running_mode=in_memory",)
TWO = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


def random_users(seed, users=40, items=15, longest=30):
    generator = np.random.default_rng(seed)
    made = {}
    for number in range(users):
        size = int(generator.integers(1, longest))
        made[f"user-{number}"] = [
            (
                f"{generator.choice(['item', 'video'], p=[0.8, 0.2])}:{generator.integers(items)}",
                str(generator.choice(["view", "buy"])),
                int(time),
            )
            for time in np.sort(generator.integers(0, 20 * oracle.DAY, size))
        ]
    return made


def chunks(user, events, most=10, context=4):
    """Records of one user as the example generator cuts them."""
    start, number = 0, 0
    while True:
        part = events[start : start + most]
        yield example(
            **{
                f.USER_ID: user,
                f.CHUNK: number,
                f.CONTEXT_LENGTH: context if number else 0,
                f.EVENT_ENTITY: [entity for entity, _, _ in part],
                f.EVENT_TYPE: [kind for _, kind, _ in part],
                f.EVENT_TIMESTAMP: [time for _, _, time in part],
            }
        )
        if start + most >= len(events):
            return
        start, number = start + most - context, number + 1


def write_log(home, users, files=3, catalogue=("item:0",)):
    """Timelines in several files, a user's chunks one after the other."""
    import tensorflow as tf

    names = sorted(users)
    for split, groups in {
        "train": [
            [record for user in names[part::files] for record in chunks(user, users[user])]
            for part in range(files)
        ],
        "catalogue": [[catalogue_row(name) for name in catalogue]],
    }.items():
        (home / f"Split-{split}").mkdir(parents=True)
        for number, records in enumerate(groups):
            path = home / f"Split-{split}" / f"data_tfrecord-{number:05d}-of-{len(groups):05d}.gz"
            with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
                for record in records:
                    writer.write(record)
    return home


def run(log, target, config, options=ONE, reverse=False, events_a_range=job.EVENTS_A_RANGE):
    files = split_files(log / "Split-train")
    return job.build(
        files[::-1] if reverse else files,
        split_files(log / "Split-catalogue"),
        target,
        config,
        lambda: direct(*options),
        events_a_range,
    )


def lists_of(log, config, events_a_range=100):
    """Runs the steps of the job one after the other in this process, as one worker would."""
    files, settings = split_files(log / "Split-train"), (config.to_json(), events_a_range)
    merge = MergeEntities()
    parts = [part for file in files for part in ready(job.CountEntities(*settings)).process(file)]
    merged = [merge.add_input(merge.create_accumulator(), part) for part in parts]
    dictionary = merge.extract_output(merge.merge_accumulators(merged))
    entities, groups = Entities.of(dictionary), defaultdict(list)
    for file in files:
        for number, address in ready(job.CountPairs(*settings, Store(""))).process(
            file, dictionary
        ):
            groups[number].append(unpack(Store.get(address)))
    edges, tables = entities.ranges(events_a_range), []
    for number, _ in job.seeds_of(dictionary, events_a_range):
        empty = [np.empty(0, np.int64)]
        columns = [
            empty + [t[name].to_numpy() for t in groups[number]] for name in ("key", "weight")
        ]
        found = add_up(*map(np.concatenate, columns))
        rows = slice(*edges[number : number + 2])
        tables.append(job.make_lists(found, entities, rows, config))
    neighbours.write_tables(log / "lists", tables, config.model_dump(mode="json"))
    return Neighbours.read(log / "lists")


def ready(step):
    step.setup()
    return step


def check(found, popular, weights, config):
    """The lists are the oracle's: same events, same weights, cut at the same height."""
    assert dict(zip(found.entity.to_pylist(), found.events.tolist(), strict=True)) == popular
    for entity, wanted in weights.items():
        listed = found.of(entity)
        best = sorted(wanted.values(), reverse=True)[: config.neighbours]
        np.testing.assert_allclose(list(listed.values()), best, rtol=2e-3)
        for name, weight in listed.items():
            np.testing.assert_allclose(weight, wanted[name], rtol=2e-3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"window": 2, "cooccurrence": 0.0, "backwards": 0.0},
        {"window": 0, "damping": 0.0},
        {"gap_power": 0.5, "cooccurrence": 0.3, "cooccurrence_events": 3},
        {"half_life_days": 3.0, "user_events": 12},
        {"event_types": ("buy",), "candidate_types": ("item",), "neighbours": 4},
    ],
)
def test_lists_are_those_of_a_double_loop(tmp_path, options):
    users, config = random_users(seed=len(options)), CountingConfig(**options)
    found = lists_of(write_log(tmp_path / "log", users), config)
    check(found, *oracle.count(users, config), config)


def test_by_hand(tmp_path):
    users = {"u": [("item:a", "view", 0), ("item:b", "view", 1), ("item:c", "view", 2)]}
    config = CountingConfig(window=2, backwards=0.5, cooccurrence=0.25, damping=1.0)
    run(write_log(tmp_path / "log", users, files=1), tmp_path / "out", config)
    found = Neighbours.read(tmp_path / "out")
    # Each occurs once: all roots are 2.
    assert found.of("item:a") == {"item:b": 1.25 / 2, "item:c": 0.75 / 2}
    assert found.of("item:b") == {"item:c": 1.25 / 2, "item:a": 0.75 / 2}
    assert found.of("item:c") == {"item:b": 0.75 / 2, "item:a": 0.5 / 2}


@pytest.mark.slow
def test_workers_and_order_change_no_byte(tmp_path):
    log = write_log(tmp_path / "log", random_users(7, users=80))
    config = CountingConfig(half_life_days=5.0, partners=5, neighbours=5)
    hashes = set()
    for name, options, reverse in (("a", ONE, False), ("b", ONE, True), ("c", TWO, False)):
        run(log, tmp_path / name, config, options, reverse, events_a_range=100)
        files = [path for path in sorted((tmp_path / name).rglob("*")) if path.is_file()]
        assert [path.name for path in files] == [neighbours.TABLE, neighbours.INFO]
        hashes.add(hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest())
    assert len(hashes) == 1


def test_ranges_and_files_change_no_list(tmp_path):
    users, config = random_users(3), CountingConfig()
    one = lists_of(write_log(tmp_path / "one", users, files=1), config, 10**6)
    many = lists_of(write_log(tmp_path / "many", users, files=5), config, 50)
    np.testing.assert_array_equal(one.neighbour, many.neighbour)
    np.testing.assert_array_equal(one.weight, many.weight)


def test_where_a_batch_of_timelines_ends_changes_no_list(tmp_path, monkeypatch):
    users, config = random_users(11), CountingConfig(user_events=9)
    log = write_log(tmp_path / "log", users, files=2)
    whole = lists_of(log, config)
    monkeypatch.setattr(timelines, "_BATCH", 2)  # a user's chunks come in several batches
    divided = lists_of(log, config)
    np.testing.assert_array_equal(whole.neighbour, divided.neighbour)
    np.testing.assert_array_equal(whole.weight, divided.weight)
    check(divided, *oracle.count(users, config), config)


def test_partners_of_a_file_are_its_best(tmp_path):
    users = random_users(5)
    whole, cut = CountingConfig(neighbours=6), CountingConfig(neighbours=6, partners=6)
    one = lists_of(write_log(tmp_path / "whole", users, files=1), whole)
    other = lists_of(write_log(tmp_path / "cut", users, files=1), cut)
    np.testing.assert_array_equal(one.neighbour, other.neighbour)


def test_a_pair_that_chunks_divide_is_counted_once(tmp_path):
    events = [(f"item:{i:02d}", "view", i) for i in range(40)]
    config = CountingConfig(window=1, cooccurrence=0.0, backwards=0.0, damping=0.0)
    found = lists_of(write_log(tmp_path / "log", {"u": events}, files=1), config)
    for number in range(39):
        assert found.of(f"item:{number:02d}") == {f"item:{number + 1:02d}": 1.0}


def test_more_damping_puts_what_is_often_together_before_what_is_rare(tmp_path):
    pair, rare = [("item:a", "view", 0), ("item:b", "view", 1)], [("item:a", "view", 0)]
    users = {f"u{i}": pair for i in range(9)} | {"v": [*rare, ("item:c", "view", 1)]}
    users |= {f"w{i}": [("item:b", "view", 0)] for i in range(200)}
    log = write_log(tmp_path / "log", users, files=2)
    for damping, first in ((0.0, "item:c"), (100.0, "item:b")):
        assert next(iter(lists_of(log, CountingConfig(damping=damping)).of("item:a"))) == first


def test_a_half_life_halves_what_is_one_half_life_older(tmp_path):
    later = 10 * oracle.DAY
    users = {
        "old": [("item:a", "view", 0), ("item:b", "view", 0)],
        "new": [("item:a", "view", later), ("item:c", "view", later)],
    }
    config = CountingConfig(half_life_days=10.0)
    found = lists_of(write_log(tmp_path / "log", users, files=1), config).of("item:a")
    assert found["item:b"] == pytest.approx(found["item:c"] / 2, rel=1e-3)


def test_of_a_heavy_user_the_newest_events_count(tmp_path):
    users = {"u": [(f"item:{i}", "view", i) for i in range(35)]}
    found = lists_of(write_log(tmp_path / "log", users), CountingConfig(user_events=3))
    assert found.entity.to_pylist() == ["item:32", "item:33", "item:34"]


def test_entities_outside_the_catalogue_are_said(tmp_path):
    users = {"u": [("item:a", "view", 0), ("item:b", "view", 1)]}
    log = write_log(tmp_path / "log", users, files=1, catalogue=["item:b", "item:z"])
    info = run(log, tmp_path / "out", CountingConfig())
    assert info["counts"] == {
        "entities": 2,
        "entities_with_neighbours": 2,
        "events": 2,
        "in_catalogue": 1,
        "neighbours": 2,
    }


def test_nothing_to_count(tmp_path):
    users = {"u": [("item:a", "view", 0)]}
    log = write_log(tmp_path / "log", users, files=1)
    with pytest.raises(ValueError, match="no training event to count.*'rent'"):
        run(log, tmp_path / "out", CountingConfig(event_types=("rent",)))
    assert not list((tmp_path / "out").iterdir())
