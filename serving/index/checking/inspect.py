"""Says what an index is made of: sizes, balance, parameters, recall."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.index import files
from serving.index.building import curve
from serving.index.config import CheckConfig
from serving.index.embedding.sample import sample_queries
from serving.index.tree.scann_files import CODEBOOK
from serving.index.tree.scann_files import CODES
from serving.index.tree.scann_files import DATASET
from serving.index.tree.scann_files import PARTITIONER
from serving.index.tree.scann_files import TOKENS
from serving.index.tree.scann_files import leaf_sizes
from serving.index.tree.scann_files import read_partition
from serving.publishing.servable_file import SERVABLE

_PARTS = {  # by a file's name, wherever it lies: an index in parts has most of them in each
    CODES: "codes",
    CODEBOOK: "codes",
    PARTITIONER: "tree",
    TOKENS: "tree",
    DATASET: "re-ranking vectors",
    files.VECTORS: "vectors as embedded",
    files.CANDIDATES: "ids and titles",
}
_VARIABLES = {"searcher": "search blocks", "candidates": "ids", "towers": "towers"}


def inspect(index: files.IndexFiles, version: Path | None = None) -> dict[str, Any]:
    """Describes an index, and the servable that it rides in.

    Args:
        index: An opened index.
        version: The servable's directory, if there is one.

    Returns:
        `candidates`, `dimension`, `candidate_types`; `index_type` and
        `answers` (of the servable, None without one); `build` and `search`
        parameters; `leaves` (`count` and `leaf_sizes`, None without a tree);
        `recall` as measured when it was built or updated, None if it was not;
        `updated`; `curve`; `bytes` with `index` and `servable` by part.
    """
    info = index.info
    described = _read(version / SERVABLE) if version else {}
    build = {name: value for name, value in info["build"].items() if name != "leaf_sizes"}
    search = {name: value for name, value in info["search"].items() if name != "curve"}
    leaves = None
    if info["index_type"] == files.TREE_AH:
        partition = read_partition(index.scann_dir)
        leaves = {"count": len(partition.centres), **leaf_sizes(partition)}
    return {
        "path": str(version or index.path),
        "candidates": index.size,
        "dimension": info["dimension"],
        "candidate_types": dict(info["candidate_types"]),
        "index_type": info["index_type"],
        "answers": described.get("backend"),
        "because": described.get("reason"),
        "build": build,
        "search": search,
        "leaves": leaves,
        "recall": built_recall(info),
        "updated": info.get("updated"),
        "curve": list(info["search"].get("curve", ())),
        "bytes": {
            "index": _index_bytes(info),
            "servable": _servable_bytes(version) if version else None,
        },
    }


def built_recall(info: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the recall that an index keeps: of its last update, or else of its tuning."""
    if "measured" in info:
        return dict(info["measured"])
    search = info["search"]
    for point in search.get("curve", ()):
        if curve.is_chosen(point, search):
            return {
                "recall": point["recall"],
                "recall_at": search.get("recall_at"),
                "queries": search["tuned_on"],
                "asked": "training timelines",
            }
    return None


def measure(
    index: files.IndexFiles,
    version: Path | None,
    timelines: Sequence[str],
    check: CheckConfig,
) -> dict[str, Any]:
    """Measures recall and latency again, of ScaNN and of the search backend that answers.

    Args:
        index: An opened index.
        version: The servable, whose query tower embeds the timelines.
        timelines: TFRecord files of held-out timelines; without them, vectors
            of the index are asked.
        check: How many queries, and the K of recall@K.

    Returns:
        `queries` and `asked` (how many and what), `scann`, `answer`.
    """
    import tensorflow as tf

    from serving.index.checking import validate

    towers = tf.saved_model.load(str(version)).towers if version and timelines else None
    queries, asked = sample_queries(index, check.validation_queries, towers, timelines)
    with tempfile.TemporaryDirectory() as scratch:
        measured = validate.measure(index, queries, check, Path(scratch))
    return {"queries": len(queries), "asked": asked, **measured}


def _index_bytes(info: Mapping[str, Any]) -> dict[str, int]:
    parts: dict[str, int] = {}
    for name, file in info["files"].items():
        part = _PARTS.get(Path(name).name, "other")
        parts[part] = parts.get(part, 0) + file["bytes"]
    return parts


def _servable_bytes(version: Path) -> dict[str, int]:
    """Returns the bytes of a servable's variables by what they are for, and of its files."""
    import tensorflow as tf

    parts: dict[str, int] = {}
    reader = tf.train.load_checkpoint(str(version / "variables" / "variables"))
    types = reader.get_variable_to_dtype_map()
    for name, shape in reader.get_variable_to_shape_map().items():
        if types[name] == tf.string:
            size = sum(map(len, np.ravel(reader.get_tensor(name))))
        else:
            size = int(np.prod(shape)) * types[name].size
        part = _VARIABLES.get(name.partition("/")[0], "other")
        parts[part] = parts.get(part, 0) + size
    parts["graph"] = (version / "saved_model.pb").stat().st_size
    vocabularies = [file.stat().st_size for file in (version / "assets").rglob("*")]
    parts["towers"] = parts.get("towers", 0) + sum(vocabularies)
    return parts


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
