from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from serving.index.embedding.shards import collect
from serving.index.embedding.shards import write_shard


def test_attempts_that_overlap_leave_one_whole_shard(tmp_path):
    table = pa.table(
        {
            "id": ["a:2", "a:1"],
            "entity_type": ["a", "a"],
            "title": ["Two", None],
            "available_from": pa.array([None, 1], pa.int64()),
            "vector": pa.array([[2.0], [1.0]], pa.list_(pa.float32(), 1)),
        }
    )
    source = tmp_path / "shards"
    with ThreadPoolExecutor(8) as pool:
        attempts = [
            pool.submit(write_shard, str(source), 0, 1, [table], {"b": 1}) for _ in range(100)
        ]
        for attempt in attempts:
            attempt.result()
    name = "shard-00000-of-00001"
    assert {path.name for path in source.iterdir()} == {f"{name}.json", f"{name}.parquet"}
    assert collect(source, tmp_path, ["a"]) == 2
