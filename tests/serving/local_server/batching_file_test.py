"""`batching_params.pbtxt`: its keys, and a server that keeps to them as TF Serving does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serving.client import RecommenderClient
from serving.client import TooManyRowsError
from serving.local_server.batching_file import with_batching_file
from serving.local_server.config import BatchingConfig
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig

SPLITTING = """
max_batch_size { value: 8 }
max_execution_batch_size { value: 2 }
enable_large_batch_splitting { value: true }
batch_timeout_micros { value: 300 }
max_enqueued_batches { value: 50 }
num_batch_threads { value: 3 }
thread_pool_name { value: 'batches' }
allowed_batch_sizes: 1
allowed_batch_sizes: 2
pad_variable_length_inputs: true
"""


def read(path: Path, text: str) -> BatchingConfig:
    path.write_text(text)
    models = (ModelConfig(base_path=Path("pushed")),)
    return with_batching_file(ServerConfig(models=models, batching_parameters_file=path)).batching


def test_the_keys_of_tf_serving_become_settings(tmp_path):
    assert read(tmp_path / "file", SPLITTING) == BatchingConfig(
        max_batch_size=2, max_request_rows=8, timeout_micros=300, max_queued_rows=100, runners=3
    )


def test_without_splitting_a_request_is_as_large_as_a_batch(tmp_path):
    found = read(tmp_path / "file", "max_batch_size { value: 4 }")
    assert (found.max_batch_size, found.max_request_rows) == (4, 4)
    assert (found.timeout_micros, found.max_queued_rows, found.runners) == (0, 40, None)
    assert read(tmp_path / "file", "").max_request_rows == 1000  # TF Serving's own default


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch: 4", "max_batch"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: 2", "rise to 4"),
        ("max_batch_size { value: 2 } allowed_batch_sizes: [2, 1, 2]", "rise to 2"),
        (SPLITTING.replace("8", "1"), r"between 1 and `max_batch_size` \(1\)"),
        ("max_batch_size { value: 0 }", "Received: 0"),
    ],
)
def test_what_tf_serving_would_not_start_with_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "file", text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    models = (ModelConfig(base_path=tmp_path),)
    config = ServerConfig(models=models, batching_parameters_file=tmp_path / "none")
    with pytest.raises(ValueError, match="batching parameters at .*none"):
        with_batching_file(config)


def test_requests_above_the_largest_batch_are_refused_and_split_ones_are_answered(
    saved, serve, tmp_path
):
    saved(tmp_path / "base", 1)
    (tmp_path / "file").write_text(SPLITTING)
    server = serve(tmp_path / "base", batching_parameters_file=tmp_path / "file")
    with RecommenderClient(server.address, "tiny", timeout=60) as client:
        x = np.arange(8, dtype=np.float32)[:, None]
        assert client.predict("double", {"x": x}).outputs["y"].tolist() == (2 * x).tolist()
        with pytest.raises(TooManyRowsError, match="at most 8 rows .*Received: 9"):
            client.predict("double", {"x": np.zeros([9, 1], np.float32)})


def test_a_warm_up_request_above_the_largest_batch_keeps_a_version_from_loading(serve, tmp_path):
    from tests.serving.local_server.tiny import request
    from tests.serving.local_server.tiny import save_tiny

    save_tiny(tmp_path, 1, [request("double", x=np.zeros([3, 1], np.float32))])
    (tmp_path / "file").write_text("max_batch_size { value: 2 }")
    server = serve(tmp_path, batching_parameters_file=tmp_path / "file")
    with RecommenderClient(server.address, "tiny", timeout=60) as client:
        [status] = client.model_status()
        assert status.state == "END" and "at most 2 rows" in status.error_message
