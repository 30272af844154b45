"""Learns the combination of a servable's sources on the validation split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from serving.index import files
from serving.index.config import ServeConfig
from serving.index.searching.assemble import make_servable
from serving.index.searching.backend import choose_backend
from serving.index.towers import check_towers
from serving.index.towers import load_towers
from serving.sources.combination import Combination
from serving.sources.combination import Settings
from serving.sources.config import FitConfig
from serving.sources.examples import collect
from serving.sources.fitting import Metric
from serving.sources.fitting import choose
from serving.sources.neighbours import Neighbours


def learn_combination(
    towers_dir: Path,
    index_dir: Path,
    neighbours_dir: Path,
    timelines: Sequence[str],
    serve: ServeConfig,
    settings: Settings,
    fit: FitConfig,
    metric: Metric,
    monitor: str,
) -> Combination:
    """Describes held-out items with the servable's own graph, and learns to order them.

    Args:
        towers_dir: SavedModel of the towers.
        index_dir: Index that was built with them.
        neighbours_dir: Neighbour lists.
        timelines: TFRecord files of raw timelines with targets, which nothing was fitted on.
        serve: How the servable searches, and what it excludes.
        settings: What the features depend on.
        fit: How many examples, and how weights are held back.
        metric: Metrics of ranks, `monitor` among them.
        monitor: The metric that decides between all sources and a single one.

    Raises:
        FileNotFoundError: There are no towers, no index or no lists.
        IndexIntegrityError: The index is damaged, or of other towers.
        NeighboursIntegrityError: The lists are damaged.
        ValueError: No timeline has a target.
    """
    index = files.open_index(index_dir)
    towers = load_towers(towers_dir)
    check_towers(index, towers, towers_dir)
    neighbours = Neighbours.read(neighbours_dir)
    backend = choose_backend(index, serve.exact_below)
    servable = make_servable(towers, index, serve, backend, settings, neighbours)
    describe = tf.function(
        servable.describe_examples,
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    examples = collect(describe, servable.candidates, timelines, fit.examples, fit.without_history)
    weights, report = choose(examples, fit, metric, monitor)
    report["examples"] = len(examples.user)
    return Combination(settings, weights, index.info["towers"], neighbours.info["sha256"], report)
