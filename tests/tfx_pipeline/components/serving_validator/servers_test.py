"""Servers that are started, asked at an address, or killed."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from serving.client import UnavailableError
from serving.publishing.config import BatchingConfig
from serving.publishing.config import PusherConfig
from serving.publishing.serving_files import server_flags
from tests.tfx_pipeline.components.serving_validator.conftest import serve
from tests.tfx_pipeline.components.serving_validator.conftest import servers
from tfx_pipeline.components.serving_validator.server import binary_command
from tfx_pipeline.components.serving_validator.server import running

pytestmark = pytest.mark.slow


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
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[4]))
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


@pytest.fixture
def base_path(other, tmp_path):
    """The directory of a staging server, with a version of other towers."""
    shutil.copytree(other / "servable", tmp_path / "staging" / "1")
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
