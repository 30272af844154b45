"""Serves a version with the local server of this environment, and prints what it answers as JSON.

python -m tests.crossing.ask PUSH_DIR VERSION
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from serving.client import Event
from serving.client import RecommenderClient
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig
from serving.local_server.server import LocalServer
from transforms.arrow import read_table


def main(push_dir: Path, version: int) -> None:
    """Asks for somebody new, and for somebody who clicked on the first two candidates."""
    candidates = push_dir / str(version) / "index" / "candidates.parquet"
    ids = read_table(candidates, columns=["id"])["id"].to_pylist()[:2]
    history = [Event(one, "click", 1 + i) for i, one in enumerate(ids)]
    model = ModelConfig(name="shop", base_path=push_dir, versions=(version,))
    with LocalServer(ServerConfig(models=(model,), port=0, rest_port=None)) as server:
        with RecommenderClient(server.address, "shop", timeout=60) as client:
            answers = [client.recommend(events, 10, request_time=0) for events in ([], history)]
    rows = [{"ids": list(one.ids), "scores": list(map(float, one.scores))} for one in answers]
    print(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
