"""Writes what is pushed: the servable, its index, its sources, and what it says of itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from serving.index import files
from serving.index.candidates import CandidateIds
from serving.index.config import ServeConfig
from serving.index.files import INDEX_DIR
from serving.index.searching.backend import PORTABLE
from serving.index.searching.backend import Backend
from serving.index.searching.backend import choose_backend
from serving.index.searching.backend import make_searcher
from serving.index.searching.quantised_vectors import FLOAT32
from serving.index.searching.servable import RetrievalServable
from serving.index.towers import check_towers
from serving.index.towers import load_towers
from serving.publishing.servable_file import SERVABLE
from serving.sources import servable_sources
from serving.sources.candidates import SOURCES
from serving.sources.combination import SOURCES_DIR
from serving.sources.combination import Settings
from serving.sources.joined import JoinedSearch
from serving.sources.neighbours import Neighbours
from serving.sources.servable_sources import ServableSources
from serving.sources.tables import align

_REQUIRED = (
    "saved_model.pb",
    "variables/variables.index",
    SERVABLE,
    f"{INDEX_DIR}/{files.INDEX}",
    f"{INDEX_DIR}/{files.CANDIDATES}",
    f"{INDEX_DIR}/{files.VECTORS}",
)


def write_servable(
    towers_dir: str | Path,
    index_dir: str | Path,
    target: str | Path,
    config: ServeConfig,
    neighbours_dir: str | Path | None = None,
    combination_dir: str | Path | None = None,
) -> dict[str, Any]:
    """Writes the servable of towers and index.

    Args:
        towers_dir: SavedModel of the towers.
        index_dir: Index directory, built from the same towers.
        target: Directory to write: a SavedModel, `servable.json`, and the
            index in `index/`.
        config: Results, search backend and what is excluded.
        neighbours_dir: Neighbour lists; None for the tower alone.
        combination_dir: The combination that was learned with them; given with them or not at all.

    Returns:
        The content of `servable.json`.

    Raises:
        FileNotFoundError: There are no towers, no index or no sources.
        IndexIntegrityError: The index is damaged, or of other towers.
        NeighboursIntegrityError: The neighbour lists are damaged.
        CombinationError: The combination is damaged, or does not belong to the others.
        ValueError: The towers lack a signature, or have other dimensions; or only one of
            neighbour lists and combination is given.
    """
    if bool(neighbours_dir) != bool(combination_dir):
        given, missing = "neighbour lists", "a combination"
        if combination_dir:
            given, missing = "a combination", "the neighbour lists that it was learned with"
        raise ValueError(
            f"Expected neighbour lists and a combination, or neither; received {given} alone. "
            f"Give {missing}, too, or leave both out for a servable of the tower alone."
        )
    index = files.open_index(index_dir)
    towers = load_towers(towers_dir)
    check_towers(index, towers, towers_dir)
    sources = None
    if neighbours_dir and combination_dir:
        sources = servable_sources.read(Path(neighbours_dir), Path(combination_dir), index)
    return assemble(towers, index, Path(target), config, sources)


def assemble(
    towers: Any,
    index: files.IndexFiles,
    target: Path,
    config: ServeConfig,
    sources: ServableSources | None = None,
) -> dict[str, Any]:
    """Does what `write_servable` does with loaded towers, which the index was built with."""
    backend = choose_backend(index, config.exact_below)
    if sources and not sources.combination.is_tower:
        found = sources.combination
        servable = make_servable(
            towers, index, config, backend, found.settings, sources.neighbours, found.weights
        )
    else:
        servable = make_servable(towers, index, config, backend)
    signatures = servable.signatures()
    tf.saved_model.save(servable, str(target), signatures=signatures)
    shutil.copytree(index.path, target / INDEX_DIR, dirs_exist_ok=True)
    if sources:
        sources.write(target / SOURCES_DIR)
    description = {
        "stage": "retrieval",
        "signatures": sorted(signatures),
        "required": [*_REQUIRED, *(servable_sources.REQUIRED if sources else ())],
        "sources": list(SOURCES) if servable.joined else [SOURCES[0]],
        "backend": backend.name,
        "reason": backend.reason,
        "vectors": config.vectors if backend.name == PORTABLE else FLOAT32,
        "k": config.k,
        "exclude_seen": list(config.exclude_seen),
        "seen_events": config.seen_events,
        "candidates": index.size,
        "candidate_types": index.info["candidate_types"],
        "dimension": index.info["dimension"],
        "search": {name: index.info["search"][name] for name in ("leaves_to_search", "reorder")},
        "towers": index.info["towers"],
        "index": index.fingerprint,
    }
    text = json.dumps(description, indent=1, sort_keys=True) + "\n"
    (target / SERVABLE).write_text(text, encoding="utf-8")
    return description


def make_servable(
    towers: Any,
    index: files.IndexFiles,
    config: ServeConfig,
    backend: Backend,
    settings: Settings | None = None,
    neighbours: Neighbours | None = None,
    weights: np.ndarray | None = None,
) -> RetrievalServable:
    """Makes the module that is exported; with neighbours one that joins several sources.

    Args:
        towers: Loaded towers.
        index: The index that was built with them.
        config: Results and what is excluded.
        backend: How the tower's candidates are searched, as `choose_backend` says.
        settings: What the sources' features depend on; None for the tower alone.
        neighbours: Neighbour lists; None for the tower alone.
        weights: [buckets, F] float32, the combination; None before it is learned.
    """
    wanted = config.k if settings is None else max(config.k, settings.union.tower)
    searcher = make_searcher(index, backend, wanted, config.chunk_mb, config.vectors)
    joined = None
    if settings is not None and neighbours is not None:
        tables = align(neighbours, index, settings.union.neighbours_per_event)
        joined = JoinedSearch(searcher, tables, settings, weights, config.k)
    ids = CandidateIds(index.candidates["id"].to_pylist())
    return RetrievalServable(towers, searcher, ids, config.exclude_seen, config.seen_events, joined)
