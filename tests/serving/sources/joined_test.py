"""Servables with several sources, against the scores that the serving validator makes in NumPy."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from serving.client import Event
from serving.client import Recommendation
from serving.client import Request
from serving.client.calls import recommend_inputs
from serving.index.config import ServeConfig
from serving.sources import features as f
from serving.sources.combination import Settings
from serving.sources.config import UnionConfig
from tests.helpers.examples import timeline
from tests.helpers.servables import write_tiny_servable
from tests.helpers.sources import weights_of
from tests.helpers.sources import write_combination
from tests.helpers.sources import write_neighbours
from tfx_pipeline.components.serving_validator.retrieval import reference
from tfx_pipeline.components.serving_validator.retrieval.joined import JoinedExactSearch

DAY = 86_400_000_000
IDS = tuple(f"item:{i}" for i in range(60))
SMALL = UnionConfig(tower=8, neighbours=6, repeats=4, popularity=5, freshness=3)
SETTINGS = Settings(newest_events=3, union=SMALL)
CONFIG = ServeConfig(k=8, exclude_seen=("buy",))
NEW = {"item:40": 80 * DAY, "item:41": 90 * DAY, "item:42": 100 * DAY, "item:43": 300 * DAY}
RNG = np.random.default_rng(5)
WEIGHTS = np.abs(RNG.normal(size=(len(f.BUCKETS), len(f.FEATURES)))).astype(np.float32)


def lists():
    """Neighbours of items and of two videos, which are no candidates themselves."""
    found = {}
    for name in (*IDS[:30], "video:1", "video:2"):
        others = RNG.choice(len(IDS), 7, replace=False)
        found[name] = {IDS[i]: float(np.float16(RNG.uniform(0.1, 1))) for i in others}
    found["item:3"]["gone:1"] = 0.9  # which the catalogue no longer has
    return found


LISTS = lists()
EVENTS = {name: int(RNG.integers(1, 50)) for name in IDS[:50]}


def sources(weights=WEIGHTS, settings=SETTINGS):
    def write(folder, towers):
        digest = write_neighbours(folder / "neighbours", LISTS, EVENTS)
        combination = folder / "combination"
        return folder / "neighbours", write_combination(
            combination, weights, digest, towers, settings
        )

    return write


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joined")
    path = write_tiny_servable(folder, IDS, CONFIG, NEW, sources=sources())
    return folder, tf.saved_model.load(str(path))


def request(names, event="view", exclude=(), when=200 * DAY):
    start = when - DAY * (len(names) + 1)
    history = [Event(name, event, start + DAY * i) for i, name in enumerate(names)]
    return Request(history, exclude_ids=exclude, request_time=when)


REQUESTS = [
    request(["item:1", "item:2", "item:1", "video:1", "item:3"]),
    request([]),
    request(["item:7"], exclude=["item:8", "item:nobody"]),
    request(["video:2", "item:nobody", "item:9", "item:9"] * 4, event="buy"),
    request(["item:11"] * 12, when=95 * DAY),
    request(["item:nobody"]),
    Request([Event("item:12", "view", 5), Event("item:3", "view", 9)], request_time=0),
]


def ask(model, requests):
    inputs = {name: tf.constant(v) for name, v in recommend_inputs(requests).items()}
    answer = model.signatures["recommend"](**inputs)
    return {name: value.numpy() for name, value in answer.items()}


def recommendations(answer):
    return [
        Recommendation(tuple(name.decode() for name in row[row != b""]), scores[row != b""], "", 1)
        for row, scores in zip(answer["ids"], answer["scores"], strict=True)
    ]


def hidden_of(one):
    return {event.id for event in one.history if event.event == "buy"} | set(one.exclude_ids)


def check(folder, model):
    """Compares the answers to all requests with scores and unions made in NumPy."""
    answers = recommendations(ask(model, REQUESTS))
    exact = JoinedExactSearch(
        folder / "servable", reference.embed(folder / "towers", REQUESTS), REQUESTS
    )
    for answer, scores in zip(answers, exact.score(answers), strict=True):
        assert answer.ids
        np.testing.assert_allclose(answer.scores, scores, rtol=1e-4, atol=1e-4)
        assert (np.diff(answer.scores) <= 0).all()
    assert exact.recall([hidden_of(one) for one in REQUESTS], answers) == 1.0
    assert [len(answer.ids) for answer in answers] == [8] * len(REQUESTS)


def test_answers_are_the_best_of_the_exact_union(served):
    check(*served)


@pytest.mark.parametrize("weighted", [False, True])
def test_mixtures_of_interests_are_joined_as_well(tmp_path, weighted):
    path = write_tiny_servable(
        tmp_path, IDS, CONFIG, NEW, interests=3, weighted=weighted, sources=sources()
    )
    check(tmp_path, tf.saved_model.load(str(path)))


def test_a_batch_is_answered_as_its_rows_alone(served):
    together = ask(served[1], REQUESTS)
    for i, one in enumerate(REQUESTS):
        alone = ask(served[1], [one])
        assert alone["ids"][0].tolist() == together["ids"][i].tolist()
        np.testing.assert_allclose(alone["scores"][0], together["scores"][i], rtol=1e-5)
        assert alone["sources"][0].tolist() == together["sources"][i].tolist()


def test_a_timeline_is_answered_as_the_same_request(served):
    answer = ask(served[1], REQUESTS[:2] + REQUESTS[3:])
    rows = [
        timeline(
            "u",
            [event.id for event in one.history],
            event=[event.event for event in one.history],
            timestamps=[event.timestamp for event in one.history],
            request_time=one.request_time,
        )
        for one in REQUESTS[:2] + REQUESTS[3:]
    ]
    found = served[1].signatures["serving_default"](examples=tf.constant(rows))
    assert set(found) == {"classes", "scores"}
    assert found["classes"].numpy().tolist() == answer["ids"].tolist()


def test_exclusions_and_dates_hold_for_every_source(served):
    answers = recommendations(ask(served[1], REQUESTS))
    for one, answer in zip(REQUESTS, answers, strict=True):
        late = {name for name, moment in NEW.items() if moment > one.request_time > 0}
        assert not set(answer.ids) & (hidden_of(one) | late)
        assert set(answer.ids) <= set(IDS) and len(set(answer.ids)) == len(answer.ids)


def test_bits_name_the_sources_that_brought_an_item(served):
    answer = ask(served[1], REQUESTS)
    for one, ids, bits in zip(REQUESTS, answer["ids"], answer["sources"], strict=True):
        for name, bit in zip(ids.astype(str), bits, strict=True):
            last = [event.id for event in one.history][-3:]
            assert bit > 0
            assert bool(bit & 2) == any(name in LISTS.get(entity, {}) for entity in last)
            own = [event.id for event in one.history][-SMALL.repeats :]
            assert bool(bit & 4) == (name in own)
            ranked = sorted(IDS, key=lambda entity: -EVENTS.get(entity, 0))
            if EVENTS.get(name, 0) > EVENTS[ranked[SMALL.popularity]]:
                assert bit & 8


@pytest.mark.parametrize("name", sorted(f.MONOTONE & {f.POPULARITY, f.NEIGHBOURS, f.REPEAT_COUNT}))
def test_one_source_alone_orders_by_itself(tmp_path, name):
    weights = weights_of(**{name: 1.0})
    path = write_tiny_servable(tmp_path, IDS, ServeConfig(k=5), sources=sources(weights, SETTINGS))
    one = request(["item:2", "item:1", "item:1"])
    [answer] = recommendations(ask(tf.saved_model.load(str(path)), [one]))
    wanted = {
        f.POPULARITY: max(EVENTS, key=EVENTS.get),
        f.REPEAT_COUNT: "item:1",
    }.get(name)
    if name == f.NEIGHBOURS:
        total = dict.fromkeys(IDS, 0.0)
        for step, entity in enumerate(("item:1", "item:1", "item:2")):
            for other, weight in LISTS[entity].items():
                total[other] += weight * SETTINGS.decay**step
        wanted = max(total, key=total.get)
    assert answer.ids[0] == wanted


def test_an_item_that_left_the_catalogue_still_brings_its_neighbours(tmp_path):
    settings = SETTINGS.model_copy(update={"newest_events": 1})
    weights = weights_of(**{f.NEIGHBOURS: 1.0})
    left = [name for name in IDS if name != "item:1"]
    path = write_tiny_servable(tmp_path, left, CONFIG, sources=sources(weights, settings))
    [answer] = recommendations(ask(tf.saved_model.load(str(path)), [request(["item:1"])]))
    ranked = sorted(LISTS["item:1"], key=lambda name: -LISTS["item:1"][name])
    assert list(answer.ids[:6]) == [name for name in ranked if name != "item:1"][:6]


def test_a_catalogue_of_new_items_alone_is_answered(tmp_path):
    new = tuple(f"new:{i}" for i in range(5))
    path = write_tiny_servable(tmp_path, new, CONFIG, sources=sources())
    answers = recommendations(ask(tf.saved_model.load(str(path)), REQUESTS))
    assert all(set(answer.ids) == set(new) for answer in answers)


def test_the_servable_says_its_sources_and_holds_their_files(served):
    description = json.loads((served[0] / "servable" / "servable.json").read_text())
    assert description["sources"] == [
        "tower", "neighbours", "repeats", "popularity", "freshness"
    ]  # fmt: skip
    for name in description["required"]:
        assert (served[0] / "servable" / name).is_file(), name
    outputs = served[1].signatures["recommend"].structured_outputs
    assert outputs["sources"].shape.as_list() == [None, CONFIG.k]


def test_where_the_tower_won_the_servable_is_the_one_without_sources(tmp_path):
    def tower(folder, towers):
        lists, combination = sources()(folder, towers)
        path = combination / "combination.json"
        content = json.loads(path.read_text())
        content["chosen"] = dict.fromkeys(content["chosen"], "tower")
        path.write_text(json.dumps(content))
        return lists, combination

    path = write_tiny_servable(tmp_path / "tower", IDS, CONFIG, NEW, sources=tower)
    plain = write_tiny_servable(tmp_path / "plain", IDS, CONFIG, NEW)
    answer = ask(tf.saved_model.load(str(path)), REQUESTS)
    expected = ask(tf.saved_model.load(str(plain)), REQUESTS)
    assert set(answer) == set(expected) and "sources" not in answer
    assert answer["ids"].tolist() == expected["ids"].tolist()
    description = json.loads((path / "servable.json").read_text())
    assert description["sources"] == ["tower"]
    assert "sources/combination.json" in description["required"]  # it goes with an update
    assert (path / "sources" / "combination.json").is_file()


@pytest.mark.parametrize(("part", "missing"), [(0, "Give a combination"), (1, "neighbour lists")])
def test_lists_or_a_combination_alone_are_refused(tmp_path, part, missing):
    def alone(folder, towers):
        return tuple(one if i == part else None for i, one in enumerate(sources()(folder, towers)))

    with pytest.raises(ValueError, match=f"or neither; received .* alone. .*{missing}"):
        write_tiny_servable(tmp_path, IDS, CONFIG, sources=alone)


def test_a_combination_of_other_lists_or_towers_is_refused(tmp_path):
    def other(part):
        def write(folder, towers):
            places = sources()(folder, towers)
            changed = {"neighbours": "other", "towers": towers} if part == "lists" else {}
            digest = (
                changed.get("neighbours")
                or json.loads((places[0] / "neighbours.json").read_text())["sha256"]
            )
            write_combination(places[1], WEIGHTS, digest, changed.get("towers", "other"))
            return places

        return write

    for part in ("lists", "towers"):
        with pytest.raises(ValueError, match=f"learned with other .*{part}"):
            write_tiny_servable(tmp_path / part, IDS, CONFIG, sources=other(part))
