"""The serving validator on rankers: a sound one, and others that each have one fault."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from serving.client import HistoryCodes
from serving.publishing.config import PusherConfig
from serving.publishing.warmup import WARMUP_FILE
from serving.publishing.warmup import write_warmup
from tests.helpers.artifacts import artifact
from tests.helpers.artifacts import raw_examples
from tests.helpers.examples import example
from tests.helpers.rankers import ITEMS
from tests.helpers.rankers import SMALL_DIN
from tests.helpers.rankers import export_ranker
from tests.helpers.rankers import small_data
from tests.helpers.timelines import small_log
from tests.helpers.timelines import timeline
from tests.tfx_pipeline.components.conftest import do
from tfx_pipeline.components.serving_validator.answers import warmup_requests
from tfx_pipeline.components.serving_validator.checks import near_probability
from tfx_pipeline.components.serving_validator.component import Executor
from tfx_pipeline.components.serving_validator.config import ServingValidationConfig
from tfx_pipeline.components.serving_validator.ranking import RankingAnswers
from tfx_pipeline.components.serving_validator.ranking import ask
from tfx_pipeline.components.serving_validator.ranking import judge as judge_answers
from tfx_pipeline.components.serving_validator.release_candidate import run_here
from transforms import features as f

pytestmark = pytest.mark.slow

DAY = 86_400_000_000
CHECKS = (
    "load",
    "warm_up",
    "answers",
    "rank",
    "merged",
    "serving_default",
    "rank_codes",
    "candidate_rows",
    "latency",
)


def page(user: str, history: list[int], candidates: list[int], query: str = "") -> bytes:
    """A page example of a log whose items are `item:0` and on."""
    return example(
        **{
            f.USER_ID: user,
            f.USER_ATTRIBUTES: ["group=1"],
            f.REQUEST_TIME: 9 * DAY,
            f.REQUEST_QUERY: query,
            f.EVENT_ENTITY: [f"item:{item}" for item in history],
            f.EVENT_TYPE: ["watch"] * len(history),
            f.EVENT_TIMESTAMP: [DAY + i for i in range(len(history))],
            f.EVENT_VALUE: [float(1 + i % 5) for i in range(len(history))],
            f.EVENT_QUERY: [("red shoes", "", "hat")[i % 3] for i in range(len(history))],
            f.CANDIDATE_ENTITY: [f"item:{item}" for item in candidates],
            f.CANDIDATE_POSITION: list(range(len(candidates))),
            f.LABEL_EVENTS: [1] + [0] * (len(candidates) - 1),
            f.SLICE_HISTORY: "1-9",
            f.SLICE_QUERY: "without",
        }
    )


PAGES = [
    page("ann", [1, 2, 3], [4, 5]),
    page("bob", [], [0, 1, 2, 3, 11], query="red shoes"),
    page("cem", [5, 6] * 40, [7]),
]
PUSH = PusherConfig(warmup_requests=2)


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ranker that reads the queries of events, of a log that has such."""
    path, log = tmp_path_factory.mktemp("ranker") / "good", tmp_path_factory.mktemp("log")
    events = [("watch", f"item:{item}", DAY + item) for item in range(6)]
    queries = {f.EVENT_QUERY: ["", "red shoes", "blue hat", "", "red hat", "shoes"]}
    train = [timeline(f"u{user}", events, **queries) for user in range(8)]
    export_ranker(
        small_data(log, train), path, SMALL_DIN | {"use_event_query": True, "history_codes": True}
    )
    return path


def judge(candidate: Path, scratch: Path, **settings: Any) -> dict[str, Any]:
    """Runs the executor on a release candidate, and returns its report."""
    servable = artifact(standard_artifacts.Model, scratch / "servable", 7)
    shutil.copytree(candidate, scratch / "servable" / "Format-Serving")
    rows = small_log(users=8, items=ITEMS, events=6)["catalogue"]
    examples = {"test_pages": PAGES, "catalogue": rows}
    blessing = artifact(standard_artifacts.ModelBlessing, scratch / "blessing")
    do(
        Executor,
        {
            "servable": servable,
            "model": servable,
            "examples": raw_examples(scratch / "examples", examples),
        },
        {"blessing": blessing},
        {
            "config": ServingValidationConfig(**settings).to_json(),
            "name": "shop-ranking",
            "push": PUSH.seen_by_servers().to_json(),
        },
    )
    report: dict[str, Any] = json.loads((scratch / "blessing" / "report.json").read_text())
    assert bool(blessing.get_int_custom_property("blessed")) is report["blessed"]
    return report


def failed(report: dict[str, Any]) -> list[str]:
    return [check["name"] for check in report["checks"] if check["passed"] is False]


def forgetful(source: Path, target: Path, forgotten: str) -> Path:
    """Saves a ranker again with a `rank` that reads zeros in place of one input of its own."""
    loaded = tf.saved_model.load(str(source))
    module = tf.Module()
    module.loaded = loaded
    signatures = {}
    for name, inner in loaded.signatures.items():

        def call(_inner: Any = inner, _name: str = name, **inputs: Any) -> Any:
            if _name == "rank":
                inputs[forgotten] = tf.zeros_like(inputs[forgotten])
            return _inner(**inputs)

        specs = inner.structured_input_signature[1]
        named = {key: tf.TensorSpec(one.shape, one.dtype, name=key) for key, one in specs.items()}
        signatures[name] = tf.function(call).get_concrete_function(**named)
    tf.saved_model.save(module, str(target), signatures=signatures)
    shutil.copy2(source / "servable.json", target)
    return target


def test_a_sound_ranker_is_blessed(ranker: Path, tmp_path: Path) -> None:
    report = judge(ranker, tmp_path)
    assert report["reasons"] == []
    assert {one["name"]: one["passed"] for one in report["checks"]} == dict.fromkeys(CHECKS, True)
    received = {one["name"]: one["received"] for one in report["checks"]}
    assert received["warm_up"] == "9 answers"  # two pages and both: each to three signatures
    assert received["rank"] == received["merged"] == received["rank_codes"] == "3 equal answers"
    assert received["candidate_rows"] == "8 equal scores"
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]


@pytest.mark.parametrize(
    "forgotten",
    ["history_length", pytest.param("history_query_index", marks=pytest.mark.nightly)],
)
def test_a_ranker_that_reads_other_histories_over_the_wire_is_refused(
    ranker: Path, tmp_path: Path, forgotten: str
) -> None:
    report = judge(forgetful(ranker, tmp_path / "forgets", forgotten), tmp_path)
    assert failed(report) == ["rank", "merged"]
    assert (
        "rank: expected the scores that `serving_default` gives without a server, for each"
        in (report["reasons"][0])
    )


class Here:
    """Answers in this process what a client would be answered by a server."""

    def __init__(self, ranker: Path) -> None:
        self._model = tf.saved_model.load(str(ranker))

    def predict(self, signature: str, inputs: dict[str, Any]) -> Any:
        return SimpleNamespace(outputs=run_here(self._model.signatures[signature], inputs))


@pytest.fixture(scope="module")
def answers(ranker: Path) -> RankingAnswers:
    rows = small_log(users=8, items=ITEMS, events=6)["catalogue"][:4]
    codes = HistoryCodes.read(ranker)
    return ask(Here(ranker), PAGES, rows, 2, True, codes)  # type: ignore[arg-type]


def scaled(pages: list[Any], factor: float) -> list[Any]:
    """Answers of which those to the second page, or batch of pages, are others."""
    return [
        {head: scores * np.float32(factor if number == 1 else 1) for head, scores in page.items()}
        for number, page in enumerate(pages)
    ]


@pytest.mark.parametrize(
    ("fault", "checks"),
    [
        (lambda a: {}, []),
        (lambda a: {"alone": scaled(a.alone, float("nan"))}, ["answers", "rank"]),
        (lambda a: {"alone": scaled(a.alone, 1e3)}, ["answers", "rank"]),
        (lambda a: {"merged": scaled(a.merged, 0.5)}, ["merged"]),
        (lambda a: {"examples": scaled(a.examples, 0.5)}, ["serving_default"]),
        (lambda a: {"coded": scaled(a.coded, 0.5)}, ["rank_codes"]),
        (lambda a: {"with_rows": scaled([a.with_rows] * 2, 0.5)[1]}, ["candidate_rows"]),
        (lambda a: {"faults": {"rank": "INTERNAL: no"}}, ["answers"]),
        (
            lambda a: {"alone": [{k: v[:, :1] for k, v in page.items()} for page in a.alone]},
            ["answers", "rank"],
        ),
    ],
)
def test_each_fault_fails_its_check(
    ranker: Path, answers: RankingAnswers, fault: Any, checks: list[str]
) -> None:
    given = dataclasses.replace(answers, **fault(answers))
    judged = judge_answers(ranker, ranker, PAGES, given, ServingValidationConfig())
    assert [check.name for check in judged if check.passed is False] == checks


def test_small_probabilities_are_compared_by_their_logits() -> None:
    expected = np.array([0.005, 0.005, 0.005, 0.5, 0.5, 0.9999999, np.nan], np.float32)
    received = np.array([0.006, 0.00501, 0.005004, 0.501, 0.5002, 1.0, 0.5], np.float32)
    near = near_probability(expected, received, 1e-3)
    assert near.tolist() == [False, False, True, False, True, True, False]


def test_a_half_written_ranker_is_refused(ranker: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(ranker, half)
    os.truncate(half / "variables" / "variables.data-00000-of-00001", 100)
    assert failed(judge(half, tmp_path)) == ["load"]


def test_warm_up_requests_hold_candidates_and_neither_user_nor_label(
    ranker: Path, tmp_path: Path
) -> None:
    shutil.copytree(ranker, tmp_path / "m")
    assert write_warmup(tmp_path / "m", PAGES, max_rows=2) == 12
    requests = list(warmup_requests(tmp_path / "m" / WARMUP_FILE))
    assert [name for name, _ in requests[:3]] == ["serving_default", "rank", "rank_codes"]
    assert [len(codes) for codes in requests[-1][1]["history_codes"]] == [3 * 7, 0]
    batch = requests[-2][1]
    np.testing.assert_array_equal(batch["candidate_length"], [2, 5])
    assert batch["candidate_ids"][1].tolist() == [
        b"item:0",
        b"item:1",
        b"item:2",
        b"item:3",
        b"item:11",
    ]
    np.testing.assert_array_equal(batch["history_values"], [[1, 2, 3], [0, 0, 0]])
    assert batch["history_queries"][0].tolist() == [b"", b"red shoes", b"hat"]
    np.testing.assert_array_equal(batch["history_query_index"], [[1, 0, 2], [0, 0, 0]])
    raw = (tmp_path / "m" / WARMUP_FILE).read_bytes()
    assert not any(word in raw for word in (b"ann", b"label/", b"slice/"))
