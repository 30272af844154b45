"""ScaNN's own answers against exact search in NumPy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]
K = 10
_SCRIPT = """
import json, sys
import numpy as np
sys.modules["tensorflow_recommenders"] = None  # nothing of the models is needed
from serving.index.tree.recommender import ScannRecommender

given = json.loads(sys.stdin.read())
search, queries = ScannRecommender("large"), np.load("large.npy")[:20]
several = np.stack([queries[:10], queries[10:]], axis=1)
print(json.dumps({
    "plain": search.recommend(queries, given["k"]),
    "excluding": search.recommend(queries, given["k"], given["exclude"], request_time=999),
    "best": search.recommend(several, given["k"]),
    "mixed": search.recommend(several, given["k"], weight=np.array([[0.9, 0.1]] * 10)),
    "all": search.recommend(queries[:2], 30_000),
}))
"""


@pytest.fixture(scope="module")
def answers(workshop):
    scores = exact(workshop)
    index = workshop.index("large")
    ids = np.array(index.candidates["id"].to_pylist())
    # More than the best leaves hold.
    exclude = [ids[np.argsort(-row)[:800]].tolist() for row in scores]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        cwd=workshop.folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        input=json.dumps({"k": K, "exclude": exclude}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return (
        json.loads(done.stdout.splitlines()[-1]),
        exclude,
        {name: row for row, name in enumerate(ids)},
    )


def exact(workshop) -> np.ndarray:
    return workshop.queries[:20] @ np.asarray(workshop.index("large").vectors).T


def share(found, scores, rows, hidden=None) -> float:
    """Returns how much of the K best of exact scores [B, N] was found."""
    hits = []
    for row, (answer, line) in enumerate(zip(found, scores, strict=True)):
        line = np.where(hidden[row], -np.inf, line) if hidden is not None else line
        given = [score for _, score in answer]
        np.testing.assert_allclose(given, [line[rows[name]] for name, _ in answer], rtol=1e-5)
        assert given == sorted(given, reverse=True) and len(given) == K
        hits.append(np.isin([rows[name] for name, _ in answer], np.argsort(-line)[:K]).mean())
    return float(np.mean(hits))


def test_answers_are_those_of_exact_search_in_nearly_all_places(answers, workshop):
    found, _, rows = answers
    assert share(found["plain"], exact(workshop), rows) > 0.9


def test_what_is_excluded_or_too_early_makes_room(answers, workshop):
    found, exclude, rows = answers
    index = workshop.index("large")
    late = np.asarray(index.candidates["available_from"].fill_null(0)) > 999
    hidden = np.array([late | np.isin(list(rows), names) for names in exclude])
    assert share(found["excluding"], exact(workshop), rows, hidden) > 0.9


def test_interests_are_merged_by_the_best_or_as_a_mixture(answers, workshop):
    found, _, rows = answers
    scores = exact(workshop).astype(np.float64).reshape(2, 10, -1)
    assert share(found["best"], scores.max(axis=0), rows) > 0.9
    mixture = np.log(0.9 * np.exp(scores[0]) + 0.1 * np.exp(scores[1]))
    assert share(found["mixed"], mixture, rows) > 0.8


def test_there_are_no_more_than_there_are(answers, workshop):
    found, _, _ = answers
    size = workshop.index("large").size
    assert [len({name for name, _ in answer}) for answer in found["all"]] == [size, size]
