"""Values: mistakes are named, and memory is counted."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from deploy.render import main
from deploy.values import VALUES
from deploy.values import load_values
from serving.publishing.config import PusherConfig


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("server.grpc_max_thread=8", "`grpc_max_thread` is not a key of Server; the nearest is"),
        ("modl.name=x", "`modl` is not a key of Values; the nearest is `model`"),
        ("server.device=tpu", "server.device: "),
        ("images.train=vitrine-train", "images.train: "),
        ("row=3.11", "row: Input should be '3.10' or '3.12'"),
        ("rows={}", "one of the `rows`: there are none. Received: 3.10"),
        ("name=Has_Capitals", "name: "),
        ("model.mount_path=models", "model.mount_path: "),
        ("gpu.memory_fraction=0.5", "`memory_fraction` or `allow_growth`. Received: both"),
        ("gpu.allow_growth=false", "Received: neither"),
        ("gpu.memory_fraction=1.5", "gpu.memory_fraction: "),
        ("scale.max_replicas=1", "`max_replicas` of at least 2"),
        ("scale.max_unavailable=2", "`max_unavailable` below `min_replicas`"),
    ],
)
def test_a_mistake_is_named(override, message):
    with pytest.raises(ValueError) as caught:
        load_values(VALUES, (override,))
    assert message in str(caught.value)


def test_a_value_that_is_missing_is_named(tmp_path):
    given = yaml.safe_load(VALUES.read_text())
    del given["model"]["claim"]
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(given))
    with pytest.raises(ValueError, match=r"model\.claim: Field required"):
        load_values(path)
    path.write_text("- a\n")
    with pytest.raises(ValueError, match="should hold keys and values"):
        load_values(path)
    with pytest.raises(ValueError, match="no file of values"):
        load_values(tmp_path / "none.yaml")


def test_a_server_of_one_version_gets_twice_the_model(values):
    swap = values("model.versions=1", "model.size_mib=1000", "server.overhead_mib=0")
    assert swap.memory_mib == 2000
    more = values("model.versions=6", "model.size_mib=512", "server.overhead_mib=1536")
    assert more.memory_mib == 7 * 512 + 1536


def test_memory_is_counted_for_as_many_versions_as_a_push_keeps(values):
    push = PusherConfig()  # newest ones, the stable one, and those before it
    assert values().model.versions == push.keep_versions + 1 + push.rollbacks


def test_the_command_says_what_it_wrote_or_what_is_wrong(tmp_path: Path):
    out = tmp_path / "rendered"
    result = CliRunner().invoke(main, ["--out", str(out)])
    assert result.exit_code == 0
    written = {Path(line) for line in result.output.split()}
    assert written == {path for path in out.rglob("*") if path.is_file()}
    result = CliRunner().invoke(main, ["--out", str(tmp_path / "b"), "--set", "server.cpu=3"])
    assert result.exit_code == 1
    assert "`cpu` is not a key of Server; the nearest is `cpus`" in result.output
    assert not (tmp_path / "b").exists()
