"""Versions that come, go, and are broken."""

from __future__ import annotations

import itertools
import pickle
import re
import shutil
import threading
import time
import urllib.request

import grpc
import numpy as np
import pytest

from serving.client import NotFoundError
from serving.client import RecommenderClient
from serving.client import RetryPolicy
from serving.client import UnavailableError
from serving.local_server.errors import StartError
from serving.local_server.metrics import METRICS_PATH
from tests.serving.local_server import tiny


def ask(server, **settings):
    return RecommenderClient(server.address, "tiny", timeout=60, **settings)


def states(client):
    return {status.version: status.state for status in client.model_status()}


def test_a_new_version_takes_over_and_the_old_one_is_freed(saved, serve, tmp_path, eventually):
    saved(tmp_path, 1)
    with ask(serve(tmp_path)) as client:
        assert client.recommend().ids[0] == "v1:0:0"
        saved(tmp_path, 2)
        eventually(lambda: client.recommend().version == 2)
        eventually(lambda: states(client) == {2: "AVAILABLE", 1: "END"})
        assert client.recommend().ids[0] == "v2:0:0"


def test_a_version_that_goes_gives_way_to_the_one_before(saved, serve, tmp_path, eventually):
    saved(tmp_path, 1)
    saved(tmp_path, 2)
    with ask(serve(tmp_path)) as client:
        assert client.recommend().version == 2
        shutil.rmtree(tmp_path / "2")
        eventually(lambda: client.recommend().version == 1)
        saved(tmp_path, 2)
        eventually(lambda: client.recommend().version == 2)


def test_the_last_version_stays_in_memory_when_all_files_go(saved, serve, tmp_path, eventually):
    saved(tmp_path, 1)
    with ask(serve(tmp_path)) as client:
        shutil.rmtree(tmp_path / "1")
        time.sleep(0.5)
        assert client.recommend().version == 1
        shutil.rmtree(tmp_path)
        time.sleep(0.5)
        assert client.recommend().version == 1
        tmp_path.mkdir()
        saved(tmp_path, 2)
        eventually(lambda: client.recommend().version == 2)


def test_several_newest_versions_and_exact_ones(saved, serve, tmp_path):
    for number in (1, 2, 3):
        saved(tmp_path, number)
    with ask(serve(tmp_path, model={"newest": 2})) as client:
        assert states(client) == {3: "AVAILABLE", 2: "AVAILABLE"}
    with ask(serve(tmp_path, model={"versions": (1, 2)})) as client:
        assert states(client) == {2: "AVAILABLE", 1: "AVAILABLE"}
        assert client.recommend().version == 2


def test_a_name_beyond_an_int64_leaves_the_good_version(saved, serve, tmp_path):
    saved(tmp_path, 1)
    server = serve(tmp_path)
    for name in (2**63, 2**64 + 7):
        shutil.copytree(tmp_path / "1", tmp_path / str(name))
    with ask(server) as client:
        time.sleep(0.5)  # several looks
        assert states(client) == {1: "AVAILABLE"}
        assert client.recommend().version == 1


def test_labels_keep_their_version_loaded(saved, serve, tmp_path, eventually):
    saved(tmp_path, 1)
    saved(tmp_path, 2)
    server = serve(tmp_path, model={"labels": {"stable": 1, "canary": 2}})
    with ask(server) as latest, ask(server, label="stable") as stable:
        assert (latest.recommend().version, stable.recommend().version) == (2, 1)
        saved(tmp_path, 3)
        eventually(lambda: latest.recommend().version == 3)
        assert stable.recommend().version == 1
        assert states(latest) == {3: "AVAILABLE", 2: "AVAILABLE", 1: "AVAILABLE"}


def test_a_version_without_its_graph_is_left_until_it_is_whole(saved, serve, tmp_path, eventually):
    saved(tmp_path, 1)
    with ask(serve(tmp_path)) as client:
        whole = saved(tmp_path / "aside", 2)
        half = tmp_path / "2"
        shutil.copytree(whole / "variables", half / "variables")
        eventually(lambda: states(client).get(2) == "END")
        (fault,) = [s.error_message for s in client.model_status() if s.version == 2]
        assert "saved_model.pb" in fault
        assert client.recommend().version == 1
        shutil.copy(whole / "saved_model.pb", half)
        eventually(lambda: client.recommend().version == 2)


@pytest.mark.parametrize("place", ["index/docids.bin", "assets.extra/notes.pkl"])
def test_a_version_that_holds_a_pickle_is_not_loaded(saved, serve, tmp_path, eventually, place):
    saved(tmp_path, 1)
    with ask(serve(tmp_path)) as client:
        aside = saved(tmp_path / "aside", 2)
        (aside / place).parent.mkdir(exist_ok=True)
        (aside / place).write_bytes(pickle.dumps(["movie:1"]))
        aside.rename(tmp_path / "2")
        eventually(lambda: states(client).get(2) == "END")
        (fault,) = [s.error_message for s in client.model_status() if s.version == 2]
        assert f"{place}` is a pickle" in fault
        assert client.recommend().version == 1
        (tmp_path / "2" / place).unlink()
        eventually(lambda: client.recommend().version == 2)


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.data-00000-of-00001"])
@pytest.mark.parametrize("damage", ["cut", "empty", "scrambled"])
def test_a_damaged_version_leaves_the_old_one_serving(
    saved, serve, tmp_path, eventually, file, damage
):
    saved(tmp_path, 1)
    with ask(serve(tmp_path)) as client:
        path = saved(tmp_path / "aside", 2)
        content = (path / file).read_bytes()
        damaged = {
            "cut": content[: len(content) // 2],
            "empty": b"",
            "scrambled": bytes(byte ^ 0x5A for byte in content),
        }[damage]
        (path / file).write_bytes(damaged)
        path.rename(tmp_path / "2")
        eventually(lambda: states(client).get(2) == "END")
        assert client.model_status()[0].error_message
        assert states(client)[1] == "AVAILABLE"
        assert client.recommend().version == 1
        (tmp_path / "2" / file).write_bytes(content)
        eventually(lambda: client.recommend().version == 2)


def test_a_server_that_starts_beside_a_damaged_version_serves_the_one_before(
    saved, serve, tmp_path
):
    saved(tmp_path, 1)
    (saved(tmp_path, 2) / "saved_model.pb").write_bytes(b"\xff")
    with ask(serve(tmp_path)) as client:
        assert client.recommend().version == 1


def test_a_server_without_a_version_says_so_and_waits(saved, serve, tmp_path, eventually):
    from grpc_health.v1 import health_pb2
    from grpc_health.v1 import health_pb2_grpc

    server = serve(tmp_path)
    with grpc.insecure_channel(server.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        empty, kinds = health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse
        eventually(lambda: check(empty).status == kinds.NOT_SERVING)
        with ask(server, retry=RetryPolicy(attempts=1)) as client:
            with pytest.raises(UnavailableError, match="no version loaded yet"):
                client.recommend()
            saved(tmp_path, 1)
            eventually(lambda: check(empty).status == kinds.SERVING)
            assert client.recommend().version == 1


def test_a_base_path_that_is_not_there_is_an_error(serve, tmp_path):
    with pytest.raises(StartError, match="Push a model first"):
        serve(tmp_path / "none")


def test_warm_up_runs_before_the_version_answers(serve, tmp_path):
    good = [tiny.request("double", x=[[1.0]]), tiny.request("crash", x=[1.0])]
    path = tiny.save_tiny(tmp_path, 1, good)
    server = serve(tmp_path, rest_port=0)
    with ask(server) as client:
        assert client.recommend().version == 1
    url = f"http://127.0.0.1:{server.rest_port}{METRICS_PATH}"
    with urllib.request.urlopen(url) as answer:
        page = answer.read().decode()
    assert f':tensorflow:serving:model_warmup_records_read{{model_path="{path}"}} 2' in page
    assert f'model_warmup_latency_count{{model_path="{path}",status="OK"}} 1' in page


@pytest.mark.parametrize(
    ("warmup", "message"),
    [
        (tiny.request("crash", x=[-1.0]), "x <= 0"),
        (tiny.request("double", x=[["a"]]), "record 0.*STRING"),
        (tiny.request("rank", x=[1.0]), "`rank`, which the version lacks"),
    ],
)
def test_a_version_that_crashes_on_warm_up_is_not_served(
    saved, serve, tmp_path, eventually, warmup, message
):
    saved(tmp_path, 1)
    with ask(serve(tmp_path)) as client:
        tiny.save_tiny(tmp_path, 2, [warmup])
        eventually(lambda: states(client).get(2) == "END")
        (fault,) = [s.error_message for s in client.model_status() if s.version == 2]
        assert re.search(message, fault), fault
        assert client.recommend().version == 1


def test_a_damaged_warm_up_file_is_a_fault(saved, serve, tmp_path, eventually):
    saved(tmp_path, 1)
    with ask(serve(tmp_path)) as client:
        path = saved(tmp_path / "aside", 2)
        (path / "assets.extra").mkdir()
        (path / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no records at all")
        path.rename(tmp_path / "2")
        eventually(lambda: states(client).get(2) == "END")
        assert client.recommend().version == 1


def test_swap_under_load(saved, serve, tmp_path):
    """2,000 requests while versions come and go: none fails, none mixes versions."""
    saved(tmp_path, 1)
    server = serve(tmp_path)
    faults: list[object] = []
    answered: list[int] = []
    done = threading.Event()

    def load(offset: int) -> None:
        with ask(server, retry=RetryPolicy(attempts=1)) as client:
            x = np.full((1 + offset, 3), offset, np.float32)
            for number in range(250):
                try:
                    answer = client.recommend_batch([tiny_request(number % 7)] * 2)
                    answered.append(answer[0].version)
                    head = f"v{answer[0].version}:{number % 7}:"
                    if not all(name.startswith(head) for row in answer for name in row.ids):
                        faults.append(answer)
                    if not (client.predict("double", {"x": x})["y"] == 2 * x).all():
                        faults.append("double")
                except Exception as error:
                    faults.append(error)

    def swap() -> None:
        """Two newer versions come one after the other, and go again."""
        for number, comes in itertools.cycle([(2, True), (3, True), (3, False), (2, False)]):
            if done.is_set():
                return
            if comes:
                saved(tmp_path, number)
            else:
                shutil.rmtree(tmp_path / str(number))
            expected = number if comes else number - 1
            while answered[-1:] != [expected] and not done.is_set():
                time.sleep(0.01)

    swapper = threading.Thread(target=swap)
    loaders = [threading.Thread(target=load, args=(offset,)) for offset in range(4)]
    for thread in [swapper, *loaders]:
        thread.start()
    for thread in loaders:
        thread.join()
    done.set()
    swapper.join()
    assert not faults, faults[:3]
    assert set(answered) == {1, 2, 3}


def tiny_request(length: int):
    from serving.client import Event
    from serving.client import Request

    return Request([Event("a:1", "view", 1)] * length)


def test_a_freed_version_is_not_found(saved, serve, tmp_path, eventually):
    saved(tmp_path, 1)
    server = serve(tmp_path)
    saved(tmp_path, 2)
    with ask(server) as latest, ask(server, version=1) as old:
        eventually(lambda: states(latest).get(1) == "END")
        with pytest.raises(NotFoundError, match=r"no version 1; it serves \[2\]"):
            old.recommend()
