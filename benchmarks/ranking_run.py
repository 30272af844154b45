"""Trains a ranking model on transformed timelines and measures it on the split `test_pages`.

    python -m benchmarks.ranking_run TRAINER.json GRAPH EXAMPLES OUT.json [--control] [--export DIR]

A process of its own for each training: no graph, memory or seed of an earlier one
is left over. The epoch is chosen, and scores are calibrated, on `validation_pages`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.transformed import Transformed
from models.config import RankingTrainerConfig
from transforms.features import PAGE_SPLITS

if TYPE_CHECKING:
    import tensorflow as tf

VALIDATION, TEST = PAGE_SPLITS


def run_ranking(
    config: RankingTrainerConfig,
    data: Transformed,
    control: bool = False,
    export: Path | None = None,
) -> dict[str, Any]:
    """Trains in a process of its own.

    Args:
        config: What is trained.
        data: The timelines and page examples.
        control: Whether every page gets the history of another page.
        export: Where the SavedModel is written; nowhere when None.

    Returns:
        The report of `models.trainer.train`, and the best epoch's metrics on the
        test split as `test`.

    Raises:
        subprocess.CalledProcessError: The training failed; it has printed why.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "trainer.json", Path(folder) / "report.json"
        given.write_text(config.to_json(), encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.ranking_run"]
        command += [str(path) for path in (given, data.graph, data.examples, out)]
        command += ["--control"] if control else []
        command += ["--export", str(export)] if export else []
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
        subprocess.run(command, check=True, cwd=ROOT, env=environment)
        report: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return report


def is_same_ranking(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Returns whether two Trainer's configurations say the same; see `Results`."""
    try:
        return RankingTrainerConfig.model_validate(kept) == RankingTrainerConfig.model_validate(
            wanted
        )
    except ValueError:  # an option that the kept one has is gone
        return False


def exchange_histories(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Gives each page of a batch the history of the page that is half the batch away.

    Training pages are shuffled across users; held-out pages come user by user, and few
    users have as many as half a batch.
    """
    import tensorflow as tf

    from models.input import batch as b

    half = tf.shape(batch[b.HISTORY_LENGTH])[0] // 2
    return {
        name: tf.roll(values, half, axis=0) if name.startswith(b.HISTORY_PREFIXES) else values
        for name, values in batch.items()
    }


def train_and_test(
    config: RankingTrainerConfig, data: Transformed, export: Path | None = None
) -> dict[str, Any]:
    """Trains in this process; see `run_ranking`."""
    from models.ranking.model import PageEvaluation
    from models.ranking.model import RankingModel
    from models.ranking.model import evaluation_pages
    from models.trainer import train
    from models.training.data import TrainingData

    transform = data.output()
    splits = (data.files(name) for name in ("train", "catalogue", VALIDATION))
    given = TrainingData(transform, *splits)
    model, report = train(config, given)
    assert isinstance(model, RankingModel)
    batches = evaluation_pages(data.files(TEST), given.spec, model.pages)
    report["test"] = PageEvaluation(model, list(batches)).evaluate()
    if export:
        model.export(transform.transform_features_layer(), str(export))
    return report


def main() -> None:
    """Trains, measures and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("trainer", "graph", "examples", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--export", type=Path)
    options = parser.parse_args()

    import models  # noqa: F401  (before TensorFlow)
    from models.ranking import model as ranking

    if options.control:  # in this process alone
        own_batches, held_out = ranking.page_batches, ranking.evaluation_pages
        ranking.page_batches = lambda *a: own_batches(*a).map(exchange_histories)
        ranking.evaluation_pages = lambda *a: held_out(*a).map(exchange_histories)
    text = options.trainer.read_text(encoding="utf-8")
    config = RankingTrainerConfig.model_validate_json(text)
    data = Transformed(options.graph, options.examples)
    report = train_and_test(config, data, options.export)
    options.out.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
