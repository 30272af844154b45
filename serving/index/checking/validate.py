"""Judges an index: recall against exact search on held-out queries, and latency."""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from serving.index import files
from serving.index import processes
from serving.index import search_quality
from serving.index.config import CheckConfig
from serving.index.embedding.embed import embed_queries
from serving.index.queries import Queries
from serving.index.queries import save_queries
from serving.index.searching.backend import choose_backend
from serving.index.searching.backend import make_searcher
from serving.index.towers import check_towers
from serving.index.towers import load_towers

_TIMED = 200  # queries asked one by one of the search backend that answers


def validate(
    index_dir: str | Path,
    towers_dir: str | Path,
    query_files: Sequence[str],
    config: CheckConfig,
    work_dir: Path,
) -> dict[str, Any]:
    """Measures an index on timelines that the towers were not trained on.

    Two searchers are measured: ScaNN's own, and the one of plain operations
    that the servable will answer with.

    Args:
        index_dir: The index.
        towers_dir: SavedModel that its vectors come from.
        query_files: TFRecord files of raw timelines.
        config: Bounds.
        work_dir: For the query embeddings (`queries.npz`).

    Returns:
        The report: `blessed`, `reasons` when it is not, `recall@<K>` (ScaNN's),
        `scann` and `answer` with recall and latency each.

    Raises:
        FileNotFoundError: A directory holds no index or no towers.
        IndexIntegrityError: The index is damaged, or of other towers.
        ValueError: There are no queries.
    """
    index = files.open_index(index_dir)
    towers = load_towers(towers_dir)
    check_towers(index, towers, towers_dir)
    queries = embed_queries(towers, query_files, config.validation_queries)
    measured = measure(index, queries, config, work_dir)
    reasons = objections(**measured, config=config)
    return {
        "blessed": not reasons,
        "reasons": reasons,
        f"recall@{config.recall_at}": measured["scann"]["recall"],
        "min_recall": config.min_recall,
        "max_latency_ms": config.max_latency_ms,
        "queries": len(queries),
        "candidates": index.size,
        "dimension": index.info["dimension"],
        "index_type": index.info["index_type"],
        "search": index.info["search"],
        **measured,
    }


def measure(
    index: files.IndexFiles, queries: Queries, config: CheckConfig, work_dir: Path
) -> dict[str, dict[str, Any]]:
    """Measures both searchers of an index.

    Args:
        index: An opened index.
        queries: What is asked.
        config: What recall is measured at.
        work_dir: For `queries.npz`, which ScaNN's process reads.

    Returns:
        `scann` and `answer`, each with `recall`, `recall_at` and `latency_ms`.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    file = work_dir / "queries.npz"
    save_queries(file, queries)
    scann = _measure_scann(index, file, config.recall_at)
    return {"scann": scann, "answer": measure_answer(index, queries, config)}


def _measure_scann(index: files.IndexFiles, queries: Path, recall_at: int) -> dict[str, Any]:
    """Measures the ScaNN searcher in a process of its own; see `serving.index.checking.check`."""
    printed = processes.run_module(
        "serving.index.checking.check",
        ["--index", str(index.path), "--queries", str(queries), "--recall-at", str(recall_at)],
    )
    return json.loads(printed.strip().splitlines()[-1])


def measure_answer(
    index: files.IndexFiles, queries: Queries, config: CheckConfig
) -> dict[str, Any]:
    """Measures the searcher that a servable would answer with."""
    backend = choose_backend(index, config.exact_below)
    k = min(config.recall_at, index.size)
    searcher = make_searcher(index, backend, k, vector_type=config.vectors)
    given = [queries.vectors] + ([] if queries.weight is None else [queries.weight])
    signature = [tf.TensorSpec([None, *values.shape[1:]], tf.float32) for values in given]

    @tf.function(input_signature=signature, autograph=False)
    def ask(query: tf.Tensor, weight: tf.Tensor | None = None) -> tf.Tensor:
        batch = tf.shape(query)[0]
        nothing = tf.fill([batch, 0], -1)
        return searcher.search(query, nothing, tf.zeros([batch], tf.int64), weight)[0]

    rows = ask(*map(tf.constant, given)).numpy()
    found = search_quality.recall(
        np.asarray(index.vectors), queries.vectors, rows, k, queries.weight
    )
    timed = range(min(_TIMED, len(queries)))
    single = [[tf.constant(values[row : row + 1]) for values in given] for row in timed]
    return {
        "backend": backend.name,
        "reason": backend.reason,
        "recall": float(found.mean()),
        "recall_at": k,
        "latency_ms": search_quality.latency_ms(lambda query: ask(*query).numpy(), single),
    }


def objections(
    scann: Mapping[str, Any], answer: Mapping[str, Any], config: CheckConfig
) -> list[str]:
    """Says what keeps an index from being blessed; nothing when it is good."""
    reasons = []
    for name, measured in (("ScaNN", scann), (f"the {answer['backend']} backend", answer)):
        if not measured["recall"] >= config.min_recall:
            reasons.append(
                f"recall@{measured['recall_at']} of {name} is {measured['recall']:.4f}, below "
                f"min_recall ({config.min_recall}): search more leaves (leaves_to_search), score "
                "more again (reorder), or raise target_recall"
            )
        slowest = measured["latency_ms"]["p99"]
        if not slowest <= config.max_latency_ms:
            reasons.append(
                f"the 99th percentile latency of {name} is {slowest:.2f} ms, above max_latency_ms "
                f"({config.max_latency_ms}): search fewer leaves, or validate on a quieter machine"
            )
    return reasons
