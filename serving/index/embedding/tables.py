"""Embeds tables of serialised examples, whatever else their rows hold."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.index.embedding.columns import EMBEDDING
from serving.index.embedding.columns import WEIGHT
from serving.index.embedding.columns import vectors_column
from serving.index.embedding.columns import weights_column
from serving.index.embedding.embed import TowersHandler
from serving.index.embedding.shards import from_ipc
from serving.index.embedding.shards import to_ipc

EXAMPLE = "example"

Element = tuple[int, bytes, bytes]


class TableHandler(TowersHandler):
    """Replaces the examples of tables by their embeddings.

    A model with several interests gives a list of vectors for each query, and for a
    mixture of them also `weight`, a list of as many numbers.

    Args:
        towers_dir: SavedModel of towers, or of a servable that holds them.
        signature: `serving_default` for timelines, `embed_candidate` for catalogue rows.
        batch: Examples that are embedded at a time.
    """

    def __init__(self, towers_dir: str, signature: str, batch: int) -> None:
        super().__init__(towers_dir)
        self._signature = signature
        self._batch = batch

    def run_inference(
        self, batch: Element, model: Any, inference_args: Mapping[str, Any] | None = None
    ) -> Iterable[Element]:
        """Embeds one table.

        Args:
            batch: A number, a table with a column `example` (an Arrow IPC stream), and bytes
                that are passed on.
            model: What `load_model` returned.
            inference_args: Not used.

        Returns:
            The same, with `embedding` in place of `example`; one without rows has neither.

        Raises:
            ValueError: An embedding is not finite.
        """
        number, content, passed_on = batch
        table = from_ipc(content)
        examples = table[EXAMPLE].to_numpy()
        table = table.drop([EXAMPLE])
        if len(table):
            for name, values in self._embed(examples, model).items():
                column = weights_column(values) if name == WEIGHT else vectors_column(values)
                table = table.append_column(name, column)
        return [(number, to_ipc(table), passed_on)]

    def _embed(self, examples: np.ndarray, model: Any) -> dict[str, np.ndarray]:
        import tensorflow as tf

        embed = model.signatures[self._signature]
        parts = [
            embed(examples=tf.constant(examples[start : start + self._batch], tf.string))
            for start in range(0, len(examples), self._batch)
        ]
        names = [name for name in (EMBEDDING, WEIGHT) if name in parts[0]]
        found = {name: np.concatenate([part[name].numpy() for part in parts]) for name in names}
        broken = ~np.isfinite(found[EMBEDDING]).reshape(len(examples), -1).all(axis=1)
        if broken.any():
            raise ValueError(
                f"`{self._signature}` gives embeddings that are not finite for {broken.sum():,} of "
                f"{len(examples):,} examples: look at the training loss."
            )
        return found
