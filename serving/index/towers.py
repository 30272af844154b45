"""Loads the trained towers and checks that an index was made with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from serving.index import files

NEEDED = ("serving_default", "embed_query", "embed_candidate")


def load_towers(path: str | Path) -> Any:
    """Loads the towers' SavedModel and checks that its signatures are there.

    Args:
        path: What the Trainer exported, or a servable, which holds the towers that it is made of.

    Raises:
        FileNotFoundError: There is no SavedModel at `path`.
        ValueError: A signature or an output is missing.
    """
    if not (Path(path) / "saved_model.pb").is_file():
        raise FileNotFoundError(f"`{path}` holds no SavedModel; expected the trained towers there.")
    loaded = tf.saved_model.load(str(path))
    towers = getattr(loaded, "towers", loaded)
    for name in NEEDED:
        signature = towers.signatures.get(name)
        if signature is None or "embedding" not in signature.structured_outputs:
            raise ValueError(
                f"The towers at `{path}` have the signatures {sorted(towers.signatures)}; "
                f"expected `{name}` with an output `embedding`. Export them as "
                "models/export/towers.py does."
            )
    return towers


def check_towers(index: files.IndexFiles, towers: Any, towers_dir: str | Path) -> None:
    """Checks that `index` was made with these towers.

    Raises:
        IndexIntegrityError: It was made with others.
    """
    built_with = index.info.get("towers")
    if built_with and built_with != files.directory_fingerprint(towers_dir):
        raise files.IndexIntegrityError(
            f"The index at `{index.path}` was built with other towers than `{towers_dir}`. "
            "A query and its candidates have to come from one model: build the index again."
        )
    outputs: Mapping[str, Any] = towers.signatures["embed_query"].structured_outputs
    dim = outputs["embedding"].shape[-1]
    if dim is not None and dim != index.info["dimension"]:
        raise files.IndexIntegrityError(
            f"The towers embed queries in {dim} dimensions and the index at `{index.path}` holds "
            f"{index.info['dimension']}. Build the index again."
        )
