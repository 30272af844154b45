"""Trains a configuration on transformed timelines and measures it on a split.

    python -m benchmarks.training_run TRAINER.json GRAPH EXAMPLES OUT.json [OTHERS [EMBEDDINGS]]

A process of its own for each training: no graph, memory or seed of an earlier one
is left over.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.results import Results
from models.config import RetrievalTrainerConfig
from tfx_pipeline.config_file import load_config
from tfx_pipeline.config_file import set_key
from tfx_pipeline.runners.transformed import Transformed

if TYPE_CHECKING:
    from models.retrieval.model import RetrievalModel
    from models.training.data import TrainingData


Rows = Mapping[str, tuple[str, tuple[str, ...]]]  # row -> its configuration, and what it changes


def trainer_config(config: str, changes: tuple[str, ...], seed: int) -> RetrievalTrainerConfig:
    """Returns the Trainer of a configuration that ships, with changes."""
    retrieval = load_config(config).retrieval
    assert retrieval
    values = retrieval.trainer.model_dump(mode="json")
    for change in changes:
        set_key(values, change)
    return RetrievalTrainerConfig.model_validate(values | {"seed": seed})


def measure_trainings(
    results: Results,
    rows: Rows,
    seeds: int,
    only: str,
    measure: Callable[[RetrievalTrainerConfig], Mapping[str, float]],
) -> None:
    """Measures what is missing of a table, whose rows are named `row`; one seed after the other.

    Args:
        results: Where runs are kept, with `is_same_training`.
        rows: All rows of the table, in their order.
        seeds: How many.
        only: A part of the names of the rows that are wanted.
        measure: Trains a configuration, and measures it.
    """

    def run(name: str, config: RetrievalTrainerConfig) -> Mapping[str, float]:
        print(f"{name}, seed {config.seed} ...", flush=True)
        return measure(config)

    for seed in range(seeds):
        for name in (name for name in rows if only in name):
            config = trainer_config(*rows[name], seed)
            compared = config.model_dump(mode="json", exclude={"seed"})
            results.measure({"row": name}, seed, partial(run, name, config), compared)
    order = {name: place for place, name in enumerate(rows)}
    arranged = sorted(results.runs, key=lambda run: (run.seed, order.get(str(run.key["row"]), -1)))
    if arranged != results.runs:
        results.runs = arranged
        results.save()


def run_training(
    config: RetrievalTrainerConfig,
    data: Transformed,
    others: Path | None = None,
    embeddings: Path | None = None,
) -> dict[str, Any]:
    """Trains in a process of its own.

    Args:
        config: What is trained.
        data: The timelines.
        others: Directory of more splits of transformed timelines with targets.
        embeddings: Directory to be written: all items, and the users of the test split as they
            are before its targets (`tfx_pipeline.evaluation.embeddings.vectors`).

    Returns:
        The report of `models.trainer.train`, and the best epoch's metrics on the
        test split as `test`, those on each of the others as `others`.

    Raises:
        subprocess.CalledProcessError: The training failed; it has printed why.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "trainer.json", Path(folder) / "report.json"
        given.write_text(config.to_json(), encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.training_run"]
        command += [str(path) for path in (given, data.graph, data.examples, out)]
        command += [str(path or "") for path in (others, embeddings)]
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
        subprocess.run(command, check=True, cwd=ROOT, env=environment)
        report: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return report


def is_same_training(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Returns whether two Trainer's configurations say the same; see `Results`."""
    try:
        return RetrievalTrainerConfig.model_validate(kept) == RetrievalTrainerConfig.model_validate(
            wanted
        )
    except ValueError:  # an option that the kept one has is gone
        return False


def main(
    trainer: str, graph: str, examples: str, out: str, others: str = "", embeddings: str = ""
) -> None:
    """Trains, measures and writes the report."""
    import models  # noqa: F401  (before TensorFlow)
    from models.input.catalogue import load_catalogue
    from models.input.target_batches import evaluation_batches
    from models.retrieval.catalogue_ranking import CatalogueRanking
    from models.trainer import train
    from models.training.data import TrainingData

    config = RetrievalTrainerConfig.model_validate_json(Path(trainer).read_text(encoding="utf-8"))
    data = Transformed(Path(graph), Path(examples))
    catalogue = data.files("catalogue")
    given = TrainingData(data.output(), data.files("train"), catalogue, data.files("validation"))
    model, report = train(config, given)
    spec, size = given.spec, given.sizes.entity
    table = load_catalogue(catalogue, spec, size, config.model.candidate)
    candidates = table.candidates(config.candidate_types)

    def ranked(split: str, given: Transformed) -> dict[str, float]:
        batches = evaluation_batches(given.files(split), spec, model.window_spec(training=False))
        ranking = CatalogueRanking(
            batches, candidates, size, config.validation.k, available_from=table.available_from
        )
        return ranking.evaluate(model.embed_queries, model.embed_items)

    report["test"] = ranked("test", data)
    if others:
        more = Transformed(data.graph, Path(others))
        names = sorted(path.name.removeprefix("Split-") for path in more.examples.iterdir())
        report["others"] = {name: ranked(name, more) for name in names}
    if embeddings:
        _write_embeddings(model, data, given, Path(embeddings))
    Path(out).write_text(json.dumps(report, indent=1), encoding="utf-8")


def _write_embeddings(
    model: RetrievalModel, data: Transformed, given: TrainingData, out: Path
) -> None:
    """Embeds the users of the test split and all items."""
    import numpy as np
    import tensorflow as tf

    from models.input.target_batches import evaluation_batches
    from models.input.timeline_files import parsed_timelines
    from models.input.timeline_files import timeline_records
    from models.layers.mixture import Mixture
    from tfx_pipeline.evaluation.embeddings.vectors import Embeddings
    from tfx_pipeline.evaluation.embeddings.vectors import Vectors
    from tfx_pipeline.evaluation.embeddings.vectors import write_embeddings
    from transforms import features as f
    from transforms.vocabulary import entity_vocabulary

    files = data.files("test")
    timelines = parsed_timelines(timeline_records(files), given.spec, 1024, (f.USER_ID,))
    users = [row.decode() for rows in timelines for row in rows[f.USER_ID].flat_values.numpy()]
    vectors, weights = [], []
    embed = tf.function(model.embed_queries, reduce_retracing=True, autograph=False)
    windows = model.window_spec(training=False)
    for batch in evaluation_batches(files, given.spec, windows):
        queries = embed(batch)
        if isinstance(queries, Mixture):
            weights.append(tf.exp(queries.log_weight).numpy())
            queries = queries.vectors
        vectors.append(queries.numpy().reshape(len(queries), -1, model.towers.dim))
    names = np.array([name.decode() for name in entity_vocabulary(data.output())], object)
    items = model.embed_items(tf.range(1, len(names) + 1, dtype=tf.int64)).numpy()
    of_users = Vectors(
        np.array(users, object),
        np.concatenate(vectors),
        np.concatenate(weights) if weights else None,
    )
    of_items = Vectors(names, items[:, None])
    write_embeddings(Embeddings("trained", of_users, of_items), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
