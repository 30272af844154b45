"""The serving validator: real servers, real requests, and candidates that each have one fault."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from serving.client import RecommenderClient
from serving.client import Request
from serving.client import TooManyRowsError
from serving.client import UnavailableError
from serving.client import query_inputs
from serving.client import wait_until_ready
from serving.index.config import ServeConfig
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig
from serving.local_server.server import LocalServer
from serving.publishing.announce import announce_version
from serving.publishing.config import BatchingConfig
from serving.publishing.config import PusherConfig
from serving.publishing.serving_files import server_flags
from tests.helpers.artifacts import artifact
from tests.helpers.artifacts import raw_examples
from tests.helpers.examples import timeline
from tests.helpers.servables import write_tiny_servable
from tests.tfx_pipeline.components.conftest import do
from tfx_pipeline.components.serving_validator.component import Executor
from tfx_pipeline.components.serving_validator.config import RetrievalServingValidationConfig
from tfx_pipeline.components.serving_validator.config import ServingValidationConfig
from tfx_pipeline.components.serving_validator.server import binary_command
from tfx_pipeline.components.serving_validator.server import running
from tfx_pipeline.components.serving_validator.server import serving
from tfx_pipeline.config import load_config

pytestmark = pytest.mark.slow

SEEN = ("watch",)
TIMELINES = [
    timeline("ann", ["movie:1", "movie:2"], targets=["movie:3"], request_time=50),
    timeline("bob", [], attributes=["age=25"]),
    timeline("cem", ["movie:2", "movie:9", "movie:4"], event=["watch", "click", "watch"]),
    timeline("dee", [f"movie:{1 + i % 7}" for i in range(400)], query="a film"),
]
PUSH = PusherConfig(warmup_requests=2)
CHECKS = (
    "load",
    "warm_up",
    "answers",
    "recommend",
    "serving_default",
    "embed_query",
    "scores",
    "recall",
    "excluded",
    "seen",
    "latency",
)


class Verdict(NamedTuple):
    """What the executor left behind."""

    blessing: Any
    report: dict[str, Any]

    @property
    def failed(self) -> list[str]:
        return [check["name"] for check in self.report["checks"] if check["passed"] is False]


def servers() -> list[int]:
    """Returns the children of this process that are model servers, dead or alive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        zombie = not command
        if parent == os.getpid() and (zombie or b"serving.local_server" in command):
            found.append(int(entry.name))
    return found


@pytest.fixture(autouse=True)
def no_server_stays():
    yield
    assert servers() == []


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The good candidate in `servable`, and the towers that it was made of in `towers`."""
    folder = tmp_path_factory.mktemp("good")
    write_tiny_servable(folder, config=ServeConfig(k=10, exclude_seen=SEEN))
    return folder


@pytest.fixture
def judged(made, tmp_path):
    """Runs the executor on a candidate."""

    def judge(candidate: Path, timelines=TIMELINES, push=PUSH, **settings) -> Verdict:
        servable = artifact(standard_artifacts.Model, tmp_path / "servable", 7)
        shutil.copytree(candidate, tmp_path / "servable" / "Format-Serving")
        model = artifact(standard_artifacts.Model, tmp_path / "model")
        shutil.copytree(made / "towers", tmp_path / "model" / "Format-Serving")
        blessing = artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")
        do(
            Executor,
            {
                "servable": servable,
                "model": model,
                "examples": raw_examples(tmp_path / "examples", {"test": timelines}),
            },
            {"blessing": blessing},
            {
                "config": RetrievalServingValidationConfig(exclude_seen=SEEN, **settings).to_json(),
                "name": "films",
                "push": push.seen_by_servers().to_json(),
            },
        )
        report = json.loads((tmp_path / "blessing" / "report.json").read_text())
        good = bool(blessing.get_int_custom_property("blessed"))
        assert report["blessed"] is good
        assert (tmp_path / "blessing" / ("BLESSED" if good else "NOT_BLESSED")).exists()
        return Verdict(blessing, report)

    return judge


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


def test_scores_that_are_no_numbers_are_refused(judged, made, tmp_path):
    nan = rewritten(
        made / "servable",
        tmp_path / "nan",
        after=lambda out: {**out, "scores": out["scores"] * float("nan")},
    )
    verdict = judged(nan)
    assert verdict.failed == ["answers"]
    (reason,) = verdict.report["reasons"]
    assert "`recommend`: DATA_LOSS: an id came back with a score of NaN or inf" in reason


def test_answers_without_the_best_are_refused(judged, made, tmp_path):
    """Every score is right, and the five best are missing."""

    def without_best(out):
        rest = {name: out[name][:, 5:] for name in ("ids", "scores")}
        empty = {"ids": tf.fill(tf.shape(rest["ids"]), ""), "scores": 0 * rest["scores"] - np.inf}
        return {**out, **{name: tf.concat([rest[name], empty[name]], 1) for name in rest}}

    verdict = judged(rewritten(made / "servable", tmp_path / "worse", after=without_best))
    assert verdict.failed == ["recall"]
    assert "with the Trainer's towers; received 0.0" in verdict.report["reasons"][0]


def test_answers_to_nobody_are_refused(judged, made, tmp_path):
    def nothing(out):
        ids, scores = tf.fill(tf.shape(out["ids"]), ""), 0 * out["scores"] - np.inf
        return {**out, "ids": ids, "scores": scores}

    verdict = judged(rewritten(made / "servable", tmp_path / "empty", after=nothing))
    assert verdict.failed == ["answers"]
    assert "`recommend`: recommends nothing to anybody" in verdict.report["reasons"][0]


def test_an_excluded_item_is_refused(judged, made, tmp_path):
    careless = rewritten(
        made / "servable",
        tmp_path / "careless",
        before=lambda inputs: {**inputs, "exclude_length": 0 * inputs["exclude_length"]},
    )
    verdict = judged(careless)
    assert verdict.failed == ["excluded"]
    assert verdict.report["reasons"][0].startswith(
        "excluded: expected none of the items that a request excludes; received request 1 has "
    )


def test_a_seen_item_is_refused(judged, tmp_path):
    """The candidate was made with another `exclude_seen` than the run says."""
    write_tiny_servable(tmp_path / "other", config=ServeConfig(k=45))
    verdict = judged(tmp_path / "other" / "servable")
    assert verdict.failed == ["seen"]
    assert "`recommend`: request 1 has `movie:" in verdict.report["reasons"][0]


def test_altered_variables_are_refused(judged, made, tmp_path):
    """The candidate agrees with itself, and not with the Trainer's towers."""
    write_tiny_servable(tmp_path / "other", config=ServeConfig(k=10, exclude_seen=SEEN), seed=1)
    altered = tmp_path / "altered"
    shutil.copytree(made / "servable", altered)
    shutil.copytree(
        tmp_path / "other" / "servable" / "variables", altered / "variables", dirs_exist_ok=True
    )
    verdict = judged(altered)
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


def test_a_candidate_that_fails_its_warm_up_is_refused(judged, made, tmp_path):
    def refuse(inputs):
        check = tf.debugging.assert_positive(inputs["history_length"], message="nobody is new")
        with tf.control_dependencies([check]):
            return {**inputs, "query": tf.identity(inputs["query"])}

    verdict = judged(rewritten(made / "servable", tmp_path / "picky", before=refuse))
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


def test_no_answer_in_time_is_an_error_and_no_verdict(judged, made, tmp_path):
    with pytest.raises(RuntimeError, match="no verdict: .* `retrieval.serving_validation.tim"):
        judged(made / "servable", timeout_s=1e-6)
    assert not list((tmp_path / "blessing").glob("*BLESSED"))


def test_no_answer_in_time_is_a_verdict_where_the_latency_is_bounded(judged, made):
    verdict = judged(made / "servable", timeout_s=1e-6, latency_p99_ms=1000)
    assert {"warm_up", "answers"} <= set(verdict.failed)
    assert "DEADLINE_EXCEEDED" in verdict.report["reasons"][0]


def test_a_bound_of_a_microsecond_is_missed(judged, made):
    verdict = judged(made / "servable", latency_p99_ms=0.001)
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


def test_a_server_that_ignores_sigterm_is_killed(tmp_path):
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('serving.local_server', flush=True); time.sleep(600)"
    )
    log = tmp_path / "log"
    with running([sys.executable, "-c", deaf], log, patience=0.2) as process:
        while not log.read_text():
            assert process.poll() is None
            time.sleep(0.01)
        assert servers() == [process.pid]
    assert process.returncode == -9


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return path


# Takes the options of a tensorflow_model_server, and hands its socket on to a local server.
STAND_IN = """
import argparse, asyncio, pathlib
from serving.local_server.config import ServerConfig
from serving.local_server.server import LocalServer

parser = argparse.ArgumentParser()
for name in ("port", "rest_api_port", "grpc_max_threads", "max_num_load_retries"):
    parser.add_argument("--" + name, type=int, required=True)
for name in ("enable_batching", "allow_version_labels_for_unavailable_models"):
    parser.add_argument("--" + name, choices=["true"], required=True)
for name in ("model_config", "batching_parameters", "monitoring_config"):
    parser.add_argument(f"--{name}_file", type=pathlib.Path, required=True)
parser.add_argument("--grpc_socket_path", required=True)
args = parser.parse_args()
assert (args.port, args.rest_api_port) == (0, 0) and args.monitoring_config_file.is_file()
files = {
    "models_config_file": args.model_config_file,
    "batching_parameters_file": args.batching_parameters_file,
}
server = LocalServer(ServerConfig(**files, port=0, rest_port=None))
server.start()
print(server.config.batching, flush=True)


async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def connect(reader, writer):
    other_reader, other_writer = await asyncio.open_connection("127.0.0.1", server.port)
    await asyncio.gather(copy(reader, other_writer), copy(other_reader, writer))


async def main():
    async with await asyncio.start_unix_server(connect, args.grpc_socket_path) as listening:
        await listening.serve_forever()


asyncio.run(main())
"""


def test_a_binary_is_started_over_the_candidate(judged, made, tmp_path, monkeypatch):
    binary = program(tmp_path / "tensorflow_model_server", STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    push = PusherConfig(warmup_requests=4, batching=BatchingConfig(max_batch_size=3))
    verdict = judged(made / "servable", server=str(binary), push=push)
    assert verdict.report["blessed"] and verdict.report["server"] == str(binary)
    received = {one["name"]: one["received"] for one in verdict.report["checks"]}
    # Of four timelines; larger than three rows, one would keep the version from loading for ever.
    assert received["warm_up"] == "10 answers"
    # It was started with the batching that would be pushed.
    assert "max_request_rows=3" in (tmp_path / "blessing" / "server.log").read_text()


def test_a_binary_opens_no_port_and_gets_the_flags_of_every_server(tmp_path):
    command = binary_command("/bin/server", tmp_path, tmp_path / "socket")
    assert command[:2] == ["/bin/server", "--port=0"]
    assert f"--grpc_socket_path={tmp_path}/socket" in command
    assert "--rest_api_port=0" in command
    assert set(server_flags(tmp_path)) <= set(command)


def test_a_binary_that_gives_a_candidate_up_refuses_it(judged, made, tmp_path):
    words = (
        "Failed to start server. Error: Unknown: 1 servable(s) did not become available: {films}"
    )
    binary = program(tmp_path / "server", f"raise SystemExit({words!r})")
    verdict = judged(made / "servable", server=str(binary))
    assert verdict.failed == ["load"] and words in verdict.report["reasons"][0]


def test_a_binary_that_does_not_run_is_an_error_and_no_verdict(judged, made, tmp_path):
    binary = program(tmp_path / "server", "raise SystemExit('unknown flag')")
    with pytest.raises(RuntimeError, match="ended with exit code 1.*\nunknown flag"):
        judged(made / "servable", server=str(binary))
    assert not list((tmp_path / "blessing").glob("*BLESSED"))


def test_a_binary_that_is_not_there_is_named(judged, made):
    with pytest.raises(RuntimeError, match="Cannot start /no/server, which `.*serving_validation"):
        judged(made / "servable", server="/no/server")


def serve(base_path: Path) -> LocalServer:
    models = (ModelConfig(name="staging", base_path=base_path),)
    config = ServerConfig(models=models, port=0, rest_port=None, poll_seconds=0.05)
    return LocalServer(config)


@pytest.fixture
def base_path(tmp_path):
    """The directory of a staging server, with a version of other towers."""
    write_tiny_servable(tmp_path / "other", config=ServeConfig(k=10, exclude_seen=SEEN), seed=1)
    shutil.copytree(tmp_path / "other" / "servable", tmp_path / "staging" / "1")
    return tmp_path / "staging"


def test_a_server_at_an_address_is_given_the_candidate(judged, made, base_path):
    with serve(base_path) as server:
        verdict = judged(
            made / "servable", server=server.address, model="staging", base_path=str(base_path)
        )
    assert verdict.report["blessed"] and verdict.report["version"] == 2
    assert [entry.name for entry in base_path.iterdir()] == ["1"]


def test_a_server_at_an_address_that_cannot_load_the_candidate_says_why(
    judged, made, base_path, tmp_path
):
    half = tmp_path / "half"
    shutil.copytree(made / "servable", half)
    os.truncate(half / "variables" / "variables.data-00000-of-00001", 100)
    with serve(base_path) as server:
        verdict = judged(half, server=server.address, model="staging", base_path=str(base_path))
    assert verdict.failed == ["load"]
    assert "received Read less bytes than requested" in verdict.report["reasons"][0]
    assert [entry.name for entry in base_path.iterdir()] == ["1"]


def test_a_server_at_an_address_that_serves_something_else_is_found_out(judged, made, base_path):
    with serve(base_path) as server:
        verdict = judged(made / "servable", server=server.address, model="staging")
    assert verdict.failed == ["recommend", "serving_default", "embed_query", "scores", "recall"]
    assert verdict.report["version"] == 1


def test_a_server_that_does_not_get_ready_is_an_error_and_no_verdict(judged, made, tmp_path):
    (tmp_path / "empty").mkdir()
    with serve(tmp_path / "empty") as server:
        with pytest.raises(
            RuntimeError, match=r"had not loaded any version.*no verdict.*retries=0"
        ):
            judged(made / "servable", server=server.address, model="staging", load_timeout_s=0.3)
    assert not list((tmp_path / "blessing").glob("*BLESSED"))


def test_nobody_at_an_address_is_an_error_and_no_verdict(judged, made, tmp_path):
    with pytest.raises(UnavailableError, match="`GetModelStatus` of model `films`"):
        judged(made / "servable", server="127.0.0.1:1", load_timeout_s=0.3)
    assert not list((tmp_path / "blessing").glob("*BLESSED"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"server": "locl"}, "Expected `local`, an address"),
        ({"base_path": "staging"}, "`base_path` is said of a server that runs already"),
        ({"server": "a:1", "base_path": "b", "version": 2}, "set one of them"),
        ({"latency": 3}, "nearest is `latency_p99_ms`"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ServingValidationConfig(**settings)


def test_the_configuration_does_not_import_tensorflow():
    code = (
        "import sys, tfx_pipeline.config; "
        "assert not {'tfx', 'tensorflow', 'tensorflow_model_analysis'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_the_candidate_is_never_put_among_the_pushed_versions():
    section = "retrieval.serving_validation"
    settings = (f"{section}.server=a:1", f"{section}.base_path=runs/x/pushed/retrieval")
    with pytest.raises(ValueError, match="is the push directory"):
        load_config("shop_demo", ("run_dir=runs/x", *settings))
    elsewhere = load_config("shop_demo", ("run_dir=runs/y", *settings)).retrieval
    assert elsewhere and elsewhere.serving_validation.is_address
