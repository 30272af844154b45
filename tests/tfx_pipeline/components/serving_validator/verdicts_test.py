"""Verdicts on release candidates that the local server answers from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from serving.client import RecommenderClient
from serving.client import Request
from serving.client import TooManyRowsError
from serving.client import query_inputs
from serving.client import wait_until_ready
from serving.index.config import ServeConfig
from serving.publishing.announce import announce_version
from serving.publishing.config import BatchingConfig
from serving.publishing.config import PusherConfig
from tests.helpers.examples import timeline
from tests.helpers.servables import CHECKS
from tests.helpers.servables import write_tiny_servable
from tests.helpers.sources import weights_of
from tests.helpers.sources import write_combination
from tests.helpers.sources import write_neighbours
from tests.tfx_pipeline.components.serving_validator.conftest import SEEN
from tests.tfx_pipeline.components.serving_validator.conftest import TIMELINES
from tests.tfx_pipeline.components.serving_validator.conftest import servers
from tfx_pipeline.components.serving_validator.server import serving

pytestmark = pytest.mark.slow


def rewritten(source: Path, target: Path, before=lambda inputs: inputs, after=lambda out: out):
    """Saves a candidate again with another `recommend`; every other signature stays."""
    loaded = tf.saved_model.load(str(source))
    module = tf.Module()
    module.loaded = loaded
    signatures = {}
    for name, inner in loaded.signatures.items():

        def call(_inner=inner, _name=name, **inputs):
            return after(_inner(**before(inputs))) if _name == "recommend" else _inner(**inputs)

        specs = inner.structured_input_signature[1]
        named = {key: tf.TensorSpec(one.shape, one.dtype, name=key) for key, one in specs.items()}
        signatures[name] = tf.function(call).get_concrete_function(**named)
    tf.saved_model.save(module, str(target), signatures=signatures)
    shutil.copytree(source / "index", target / "index")
    shutil.copy2(source / "servable.json", target)
    return target


def test_a_good_candidate_is_blessed(judged, made, tmp_path):
    verdict = judged(made / "servable")
    report = verdict.report
    assert report["reasons"] == []
    assert {one["name"]: one["passed"] for one in report["checks"]} == dict.fromkeys(CHECKS, True)
    received = {one["name"]: one["received"] for one in report["checks"]}
    assert received["warm_up"] == "6 answers"  # two timelines and both: each to two signatures
    assert received["recommend"] == "8 equal answers"  # four requests, with exclusions and without
    assert received["serving_default"] == "4 equal answers"
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    assert (report["server"], report["version"], report["requests"]) == ("local", 1, 4)
    blessing = verdict.blessing
    assert blessing.get_string_custom_property("current_model") == str(tmp_path / "servable")
    assert blessing.get_int_custom_property("current_model_id") == 7
    names = sorted(path.name for path in Path(blessing.uri).iterdir())
    assert names == ["BLESSED", "report.json", "server.log"]
    # What was served was a copy: the candidate has no warm-up requests of ours.
    assert not (tmp_path / "servable" / "Format-Serving" / "assets.extra").exists()


def sources(folder, towers):
    """Neighbour lists of a few movies, and a combination that weighs every source."""
    lists = {"movie:2": {"movie:5": 0.5, "movie:1": 0.25}, "movie:4": {"movie:5": 0.125}}
    digest = write_neighbours(folder / "neighbours", lists, {"movie:9": 7, "movie:5": 2})
    weights = weights_of(tower=1.0, neighbours=0.5, popularity=0.25, repeat_decayed=0.25)
    combination = write_combination(folder / "combination", weights, digest, towers)
    return folder / "neighbours", combination


@pytest.mark.parametrize("seed", [0, 1])
def test_a_candidate_of_several_sources_is_judged_by_all_of_them(judged_here, tmp_path, seed):
    config = ServeConfig(k=10, exclude_seen=SEEN)
    candidate = write_tiny_servable(tmp_path / "more", config=config, seed=seed, sources=sources)
    verdict = judged_here(candidate)
    # Towers of another seed are not those that the Trainer wrote.
    assert verdict.failed == ([] if seed == 0 else ["embed_query", "scores", "recall"])


def test_scores_that_are_no_numbers_are_refused(judged_here, made, tmp_path):
    nan = rewritten(
        made / "servable",
        tmp_path / "nan",
        after=lambda out: {**out, "scores": out["scores"] * float("nan")},
    )
    verdict = judged_here(nan)
    assert verdict.failed == ["answers"]
    (reason,) = verdict.report["reasons"]
    assert "`recommend`: DATA_LOSS: an id came back with a score of NaN or inf" in reason


def test_answers_without_the_best_are_refused(judged_here, made, tmp_path):
    """Every score is right, and the five best are missing."""

    def without_best(out):
        rest = {name: out[name][:, 5:] for name in ("ids", "scores")}
        empty = {"ids": tf.fill(tf.shape(rest["ids"]), ""), "scores": 0 * rest["scores"] - np.inf}
        return {**out, **{name: tf.concat([rest[name], empty[name]], 1) for name in rest}}

    verdict = judged_here(rewritten(made / "servable", tmp_path / "worse", after=without_best))
    assert verdict.failed == ["recall"]
    assert "with the Trainer's towers; received 0.0" in verdict.report["reasons"][0]


def test_answers_to_nobody_are_refused(judged_here, made, tmp_path):
    def nothing(out):
        ids, scores = tf.fill(tf.shape(out["ids"]), ""), 0 * out["scores"] - np.inf
        return {**out, "ids": ids, "scores": scores}

    verdict = judged_here(rewritten(made / "servable", tmp_path / "empty", after=nothing))
    assert verdict.failed == ["answers"]
    assert "`recommend`: recommends nothing to anybody" in verdict.report["reasons"][0]


def test_an_excluded_item_is_refused(judged_here, made, tmp_path):
    careless = rewritten(
        made / "servable",
        tmp_path / "careless",
        before=lambda inputs: {**inputs, "exclude_length": 0 * inputs["exclude_length"]},
    )
    verdict = judged_here(careless)
    assert verdict.failed == ["excluded"]
    assert verdict.report["reasons"][0].startswith(
        "excluded: expected none of the items that a request excludes; received request 1 has "
    )


def test_a_seen_item_is_refused(judged_here, tmp_path):
    """The candidate was made with another `exclude_seen` than the run says."""
    write_tiny_servable(tmp_path / "other", config=ServeConfig(k=45))
    verdict = judged_here(tmp_path / "other" / "servable")
    assert verdict.failed == ["seen"]
    assert "`recommend`: request 1 has `movie:" in verdict.report["reasons"][0]


def test_altered_variables_are_refused(judged_here, made, other, tmp_path):
    """The candidate agrees with itself, and not with the Trainer's towers."""
    altered = tmp_path / "altered"
    shutil.copytree(made / "servable", altered)
    shutil.copytree(other / "servable" / "variables", altered / "variables", dirs_exist_ok=True)
    verdict = judged_here(altered)
    assert verdict.failed == ["embed_query", "scores", "recall"]
    assert (
        "the embeddings of the Trainer's towers; received 4 of 4 others"
        in (verdict.report["reasons"][0])
    )


@pytest.mark.parametrize(
    ("file", "size", "reason"),
    [
        ("variables/variables.data-00000-of-00001", 100, "load: expected a server that answers"),
        ("saved_model.pb", 1000, "its saved_model.pb cannot be read"),
        ("saved_model.pb", None, "its saved_model.pb cannot be read"),
    ],
)
def test_a_half_written_candidate_is_refused(judged, made, tmp_path, file, size, reason):
    half = tmp_path / "half"
    shutil.copytree(made / "servable", half)
    if size is None:
        (half / file).unlink()
    else:
        os.truncate(half / file, size)
    verdict = judged(half)
    assert verdict.failed == ["load"]
    assert reason in verdict.report["reasons"][0]


def test_a_candidate_that_fails_its_warm_up_is_refused(judged_here, made, tmp_path):
    def refuse(inputs):
        check = tf.debugging.assert_positive(inputs["history_length"], message="nobody is new")
        with tf.control_dependencies([check]):
            return {**inputs, "query": tf.identity(inputs["query"])}

    verdict = judged_here(rewritten(made / "servable", tmp_path / "picky", before=refuse))
    assert verdict.failed == ["load"]
    assert "nobody is new" in verdict.report["reasons"][0]


def test_the_server_is_started_with_the_files_that_are_pushed(made, tmp_path):
    shutil.copytree(made / "servable", tmp_path / "pushed" / "1")
    push = PusherConfig(batching=BatchingConfig(max_batch_size=2))
    announce_version(tmp_path / "pushed", 1, "films", push)
    with serving("local", tmp_path / "pushed", tmp_path / "log") as (address, _):
        with RecommenderClient(address, "films", label="stable", timeout=60) as client:
            wait_until_ready(client, 60)
            assert len(client.recommend_batch([Request()] * 2)) == 2
            with pytest.raises(TooManyRowsError, match="at most 2 rows"):
                client.predict("embed_query", query_inputs([Request()] * 3))


def test_no_answer_in_time_is_an_error_and_no_verdict(judged_here, made, tmp_path):
    with pytest.raises(RuntimeError, match="no verdict: .* `retrieval.serving_validation.tim"):
        judged_here(made / "servable", timeout_s=1e-6)
    assert not list((tmp_path / "blessing").glob("*BLESSED"))


def test_no_answer_in_time_is_a_verdict_where_the_latency_is_bounded(judged_here, made):
    verdict = judged_here(made / "servable", timeout_s=1e-6, latency_p99_ms=1000)
    assert {"warm_up", "answers"} <= set(verdict.failed)
    assert "DEADLINE_EXCEEDED" in verdict.report["reasons"][0]


def test_a_bound_of_a_microsecond_is_missed(judged_here, made):
    verdict = judged_here(made / "servable", latency_p99_ms=0.001)
    assert verdict.failed == ["latency"]
    assert "at most 0.001 ms (latency_p99_ms); received " in verdict.report["reasons"][0]


def test_without_test_timelines_there_is_no_blessing(judged, made):
    verdict = judged(made / "servable", timelines=[])
    assert verdict.failed == ["load"]
    assert "`test` holds nothing to make" in verdict.report["reasons"][0]


def test_the_server_is_gone_when_the_check_itself_fails(judged, made, tmp_path):
    backwards = timeline("eve", ["movie:1", "movie:2"], timestamps=[2, 1])
    with pytest.raises(ValueError, match="oldest first"):
        judged(made / "servable", timelines=[*TIMELINES, backwards])
    assert "is served" in (tmp_path / "blessing" / "server.log").read_text()  # it did run
    assert not list((tmp_path / "blessing").glob("*BLESSED"))
    assert servers() == []
