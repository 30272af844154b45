"""The code version follows every line of a package, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tfx_pipeline.code_version import code_version


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "shelf"
    (root / "inner").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "inner" / "__init__.py").write_text("x = 1\n")
    (root / "notes.txt").write_text("not code")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield root
    code_version.cache_clear()
    sys.modules.pop("shelf", None)


def fresh(*modules: str) -> str:
    code_version.cache_clear()
    return code_version(*modules)


def test_a_changed_line_anywhere_below_changes_it(package: Path) -> None:
    before = fresh("shelf")
    (package / "inner" / "__init__.py").write_text("x = 2\n")
    assert fresh("shelf") != before


def test_a_renamed_module_changes_it(package: Path) -> None:
    (package / "a.py").write_text("y = 1\n")
    before = fresh("shelf")
    (package / "a.py").rename(package / "b.py")
    assert fresh("shelf") != before


def test_what_is_not_code_does_not(package: Path) -> None:
    before = fresh("shelf")
    (package / "notes.txt").write_text("still not code")
    assert fresh("shelf") == before


def test_order_of_names_does_not_matter(package: Path) -> None:
    assert fresh("shelf", "json") == fresh("json", "shelf")


def test_a_missing_module_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        fresh("no_such_module")
