"""No code of ours unpickles, or runs what a file says in another way."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("transforms", "models", "tfx_pipeline", "serving", "benchmarks", "deploy")
RUNS = re.compile(
    r"^\s*(?:import|from) (?:pickle|dill|joblib|cloudpickle|marshal|shelve)\b|allow_pickle=True"
    r"|read_pickle|torch\.load\((?!.*weights_only=True)|yaml\.(?:unsafe_|full_)?load\(|(?<![.\w])(?:eval|exec)\(",
    re.MULTILINE,
)


def test_nothing_of_ours_loads_what_could_run() -> None:
    found = {
        str(path.relative_to(ROOT)): match.group()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if (match := RUNS.search(path.read_text(encoding="utf-8")))
    }
    assert found == {}
