"""One small run of the real pipeline for each model family, which every test here reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config_file import load_config

USERS = 300
SHRUNK = (
    "retrieval.trainer.epochs=1",
    "retrieval.trainer.steps_per_epoch=60",
    "retrieval.trainer.input.batch_size=128",
    "retrieval.trainer.tensorboard=false",
    "retrieval.index.k=50",
    "retrieval.index.max_latency_ms=1e9",  # a busy machine is no fault of the index
    "retrieval.evaluation.ks=[10, 50]",
    "retrieval.evaluation.min_users=1",
    "retrieval.evaluation.thresholds={}",
    "retrieval.evaluation.beats_neighbours=null",  # what learns for seconds need not
    "retrieval.evaluation.slice_thresholds={}",
    "retrieval.evaluation.change_thresholds={}",
)
# One model of the two families is followed by a ranker; the other reads the same examples.
RANKED = (
    "ranking.trainer.epochs=1",
    "ranking.trainer.steps_per_epoch=60",
    "ranking.trainer.input.batch_size=64",
    "ranking.trainer.tensorboard=false",
    "ranking.evaluation.min_users=1",
    "ranking.serving_validation.requests=16",
)
UNRANKED = ("timeline.label={}",)

DATA = {
    "timeline-example-gen",
    "curated-schema-gen",
    "statistics-gen",
    "example-validator",
    "transform",
    "neighbour-builder",
    "neighbour-validator",
}


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        name: The configuration that ships and was shrunk.
        config: What was run.
        metrics: What `metrics.json` holds.
        cached: Components that were answered from the cache.
        cacheable: Those that another model's run on the same log had finished.
        version: The version that this run pushed.
        towers: What the Trainer exported.
        report: What the serving validator reported.
    """

    name: str
    config: PipelineConfig
    metrics: dict[str, Any]
    cached: tuple[str, ...]
    cacheable: set[str]
    version: Path
    towers: Path
    report: Path

    def artifact(self, output: str) -> Path:
        """Returns the newest artifact of an output, such as `trainer/model`."""
        return newest(Path(self.config.run_dir), output)

    def examples(self, split: str) -> list[bytes]:
        """Returns the serialised raw examples of a split."""
        import tensorflow as tf

        (artifact,) = Path(self.config.run_dir, "artifacts").glob("timeline-example-gen/examples/*")
        files = sorted(str(path) for path in (artifact / f"Split-{split}").iterdir())
        return list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())


def pushed(push_dir: str | Path) -> list[str]:
    """Returns the names of the versions that are pushed by now."""
    return sorted(path.name for path in Path(push_dir).glob("[0-9]*"))


def overrides(log_dir: Path, run_dir: Path) -> tuple[str, ...]:
    """Returns the overrides that shrink a configuration for the shop.

    One name for all families, so that a second one finds the first one's data
    in TFX's cache.
    """
    return ("name=shop", f"log_dir={log_dir}", f"run_dir={run_dir}", *SHRUNK)


def newest(run_dir: Path, output: str) -> Path:
    """Returns the newest artifact of an output, such as `trainer/model`."""
    return max((run_dir / "artifacts" / output).iterdir(), key=lambda path: int(path.name))


@pytest.fixture(scope="session")
def shop_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An event log of a very small simulated shop."""
    from tfx_pipeline.datasets.registry import prepare

    log = tmp_path_factory.mktemp("shop") / "log"
    prepare("shop", log, users=USERS, images=False)
    return log


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all runs are: what they share, they make once."""
    return tmp_path_factory.mktemp("run") / "shop"


# Both are minutes, and only the model differs, which `tests/models` trains and exports.
_SEQUENCE = pytest.param("shop_sequence", marks=pytest.mark.nightly)


@pytest.fixture(scope="session", params=["shop_demo", _SEQUENCE])
def run(shop_log: Path, run_dir: Path, request: pytest.FixtureRequest) -> Run:
    """The real entry point on the shop's configuration for each model family, shrunk."""
    from tfx_pipeline.commands.run import execute

    cacheable = DATA if run_dir.exists() else set()
    push_dir = run_dir / f"pushed-{request.param}"
    stages = RANKED if request.param == "shop_demo" else UNRANKED
    keys = (*overrides(shop_log, run_dir), *stages, f"push_dir={push_dir}")
    config = load_config(request.param, keys)
    _, _, cached = execute(config)
    metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    (version,) = Path(config.push_dir_of("retrieval")).glob("[0-9]*")
    return Run(
        request.param,
        config,
        metrics,
        cached,
        cacheable,
        version,
        newest(run_dir, "trainer/model") / "Format-Serving",
        newest(run_dir, "serving-validator/blessing") / "report.json",
    )
