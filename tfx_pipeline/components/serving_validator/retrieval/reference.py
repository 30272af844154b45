"""Answers of a release candidate, and of the towers that it was made of, in this process."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from serving.client import Prediction
from serving.client import Recommendation
from serving.client import Request
from serving.client import query_inputs
from serving.client.calls import parse_recommendations
from serving.client.calls import recommend_inputs
from serving.client.errors import Target
from serving.index import files
from serving.index.searching.quantised_vectors import QuantisedVectors
from serving.index.searching.searcher import combine
from serving.index.towers import load_towers
from serving.publishing.servable_file import SERVABLE
from tfx_pipeline.components.serving_validator.release_candidate import ReleaseCandidateError
from tfx_pipeline.components.serving_validator.release_candidate import load_here
from tfx_pipeline.components.serving_validator.release_candidate import run_here
from tfx_pipeline.components.serving_validator.retrieval.ask import ALL

_ROWS = 64  # of one call
_HERE = Target("this process", "candidate")


class Reference:
    """The SavedModel of a release candidate, loaded without a server.

    Args:
        path: The release candidate.

    Raises:
        ReleaseCandidateError: It cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        self._model = load_here(path)

    def recommend(self, requests: Sequence[Request]) -> list[Recommendation]:
        """Answers requests, as the client's method does.

        Raises:
            InvalidAnswerError: A score is not finite, or an output is missing.
        """
        answers: list[Recommendation] = []
        for start in range(0, len(requests), _ROWS):
            part = requests[start : start + _ROWS]
            answers += self._call("recommend", recommend_inputs(part), "ids", len(part))
        return answers

    def recommend_examples(self, timelines: Sequence[bytes]) -> list[Recommendation]:
        """Answers serialised timelines, as the client's method does.

        Raises:
            InvalidAnswerError: A score is not finite, or an output is missing.
        """
        answers: list[Recommendation] = []
        for start in range(0, len(timelines), _ROWS):
            part = timelines[start : start + _ROWS]
            inputs = {"examples": np.array(part, object)}
            answers += self._call("serving_default", inputs, "classes", len(part))
        return answers

    def _call(
        self, name: str, inputs: Mapping[str, npt.NDArray[Any]], ids: str, rows: int
    ) -> list[Recommendation]:
        outputs = run_here(self._model.signatures[name], inputs)
        prediction = Prediction(outputs, "candidate", 0, name)
        return parse_recommendations(prediction, ids, rows, ALL, _HERE.of(name))


def embed(towers: Path, requests: Sequence[Request]) -> dict[str, npt.NDArray[np.float32]]:
    """Embeds requests with the Trainer's towers.

    Returns:
        `embedding` [B, d] or [B, K, d]; `weight` [B, K] if the model mixes interests.

    Raises:
        FileNotFoundError: There are no towers.
        ValueError: They lack a signature.
    """
    signature = load_towers(towers).signatures["embed_query"]
    parts = [
        run_here(signature, query_inputs(requests[start : start + _ROWS]))
        for start in range(0, len(requests), _ROWS)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class ExactSearch:
    """Scores the candidates of a servable's index with the embeddings of the Trainer's towers.

    Args:
        servable: The release candidate, with its index.
        queries: What `embed` returns.

    Raises:
        ReleaseCandidateError: The release candidate has no sound index.
    """

    def __init__(self, servable: Path, queries: Mapping[str, npt.NDArray[np.float32]]) -> None:
        try:
            self._index = files.open_index(servable / files.INDEX_DIR, check_hashes=False)
            self._description = json.loads((servable / SERVABLE).read_text(encoding="utf-8"))
            self._kind = self._description["vectors"]  # how the servable holds and rounds vectors
        except (OSError, ValueError, KeyError) as error:
            raise ReleaseCandidateError(f"its index cannot be read ({error})") from error
        self._rows = self._index.rows()
        self._queries = queries

    def score(self, answers: Sequence[Recommendation]) -> list[npt.NDArray[np.float32]]:
        """Scores recommended entities again: the best of a query's interests, or their mixture.

        Args:
            answers: B answers.

        Returns:
            [len(answer)] float32 for each answer; NaN for what is no candidate.
        """
        scores = []
        for i, answer in enumerate(answers):
            known = np.array([name in self._rows for name in answer.ids], bool)
            chosen = np.array([self._rows.get(name, 0) for name in answer.ids], np.int64)
            found = self._scores(self._held(chosen), i)
            scores.append(np.where(known, found, np.nan).astype(np.float32))
        return scores

    def recall(self, hidden: Sequence[Collection[str]], answers: Sequence[Recommendation]) -> float:
        """Compares answers with exact search over the whole index, by their scores.

        Candidates that are not always available are left out of the comparison: whether they
        were depends on the moment of the request.

        Args:
            hidden: B lists of entities that a request may not be answered with.
            answers: B answers.

        Returns:
            The share of the best candidates, as many as each answer has, that are in it.
        """
        always = np.asarray(self._index.candidates["available_from"].is_null())  # [N]
        found = best = 0
        for i, (names, answer) in enumerate(zip(hidden, answers, strict=True)):
            allowed = always.copy()
            allowed[[self._rows[name] for name in names if name in self._rows]] = False
            exact = np.sort(self._scores(self._everything, i)[allowed])[::-1][: len(answer.ids)]
            if exact.size:
                margin = 1e-4 * max(1.0, abs(float(exact[-1])))
                found += min(exact.size, int((np.array(answer.scores) >= exact[-1] - margin).sum()))
                best += exact.size
        return found / best if best else 1.0

    @functools.cached_property
    def _everything(self) -> QuantisedVectors:
        return self._held(slice(None))

    def _held(self, rows: npt.NDArray[np.int64] | slice) -> QuantisedVectors:
        """Returns vectors of the index as the servable holds them."""
        return QuantisedVectors(np.asarray(self._index.vectors[rows])[None], self._kind)

    def _scores(self, held: QuantisedVectors, i: int) -> npt.NDArray[np.float32]:
        """Scores vectors with query i, by the best of its interests or their mixture: [n]."""
        query = np.atleast_2d(self._queries["embedding"][i])  # [K, d]
        products = held.all_products(tf.constant(query))[None]  # [1, K, n]
        weight = self._queries["weight"][i : i + 1] if "weight" in self._queries else None
        scores: npt.NDArray[np.float32] = combine(products, weight).numpy()[0]
        return scores
