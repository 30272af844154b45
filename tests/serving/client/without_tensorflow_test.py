"""The client in a process where TensorFlow cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys

from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig

SCRIPT = """
import asyncio
import importlib.abc
import sys


FOREIGN = ("tensorflow", "tensorflow_serving", "tfx", "keras", "pyarrow")


class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FOREIGN:
            raise ImportError(f"{name} is not for the client")


sys.meta_path.insert(0, Refuse())

from serving.cascade import AsyncCascade, Cascade
from serving.client import AsyncRecommenderClient, Candidate, CatalogueRow, Event, NotFoundError
from serving.client import RecommenderClient, Request

address = sys.argv[1]
history = [Event("a:1", "view", 5), Event("a:2", "view", 6)]
with RecommenderClient(address, "tiny", timeout=60) as client:
    assert client.recommend(history, k=2).ids == ("v1:2:0", "v1:2:1")
    assert client.model_status()[0].state == "AVAILABLE"
    assert "recommend" in client.metadata().signatures
    try:
        client.rank(history, ["a:1", Candidate("a:new", CatalogueRow("New", price=2.5))])
    except NotFoundError as error:
        assert "`rank` of model `tiny`" in str(error)
    else:
        raise AssertionError("an unknown signature must raise")
    answer = Cascade(client, client).recommend(history, k=1)
    assert answer.ids == ("v1:2:0",) and "`rank` of model `tiny`" in answer.reason


async def main():
    async with AsyncRecommenderClient(address, "tiny", timeout=60, max_rows=2) as client:
        one = await client.recommend(history, k=1)
        assert (one.ids, one.version) == (("v1:2:0",), 1)
        batch = await client.recommend_batch([Request(history[:n]) for n in (0, 1, 2)], k=1)
        assert [row.ids for row in batch] == [("v1:0:0",), ("v1:1:0",), ("v1:2:0",)]
        many = await asyncio.gather(*(client.recommend(history[:i % 3], k=1) for i in range(50)))
        assert [row.ids[0] for row in many] == [f"v1:{i % 3}:0" for i in range(50)]
        assert (await client.predict("double", {"x": [[1.0]]}))["y"].tolist() == [[2.0]]
        assert (await client.model_status())[0].version == 1
        assert "double" in (await client.metadata()).signatures
        assert (await AsyncCascade(client, client).recommend(history, k=1)).is_fallback
        try:
            await client.predict("rank", {})
        except NotFoundError as error:
            assert "`rank` of model `tiny`" in str(error)
        else:
            raise AssertionError("an unknown signature must raise")


asyncio.run(main())
assert "tensorflow" not in sys.modules
"""


def test_both_forms_need_no_tensorflow(tmp_path):
    from serving.local_server.server import LocalServer
    from tests.serving.local_server.tiny import save_tiny

    save_tiny(tmp_path, 1)
    models = (ModelConfig(name="tiny", base_path=tmp_path),)
    with LocalServer(ServerConfig(models=models, port=0, rest_port=None)) as server:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, server.address],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
    assert done.returncode == 0, done.stderr


def test_configuration_of_the_server_needs_no_tensorflow_either():
    code = (
        "import sys; import serving.local_server.config, serving.local_server.main; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
