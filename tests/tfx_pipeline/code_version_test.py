"""The code version follows every line that a module runs, and nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tfx_pipeline.code_version as under_test


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`shelf.top` imports `shelf.inner`, which names `shelf.tool` in a string."""
    root = tmp_path / "shelf"
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "top.py").write_text("import json\nfrom shelf.inner import x\n")
    (root / "inner.py").write_text("x = 1\nCOMMAND = 'shelf.tool'\n")
    (root / "tool.py").write_text("y = 1\n")
    (root / "apart.py").write_text("z = 1\n")
    (root / "lists").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(under_test, "PACKAGES", ("shelf",))
    yield root
    for name in [name for name in sys.modules if name.split(".")[0] == "shelf"]:
        del sys.modules[name]


def fresh(*modules: str) -> str:
    under_test.code_version.cache_clear()
    under_test._source.cache_clear()
    importlib.invalidate_caches()
    return under_test.code_version(*modules)


@pytest.mark.parametrize("changed", ["top.py", "inner.py", "tool.py"])
def test_a_changed_line_that_is_reached_changes_it(package: Path, changed: str) -> None:
    before = fresh("shelf.top")
    with (package / changed).open("a") as file:
        file.write("# a line\n")
    assert fresh("shelf.top") != before


def test_an_import_inside_a_function_is_followed(package: Path) -> None:
    (package / "top.py").write_text("def f():\n    import shelf.apart\n")
    before = fresh("shelf.top")
    (package / "apart.py").write_text("z = 2\n")
    assert fresh("shelf.top") != before


def test_what_is_not_reached_does_not(package: Path) -> None:
    before = fresh("shelf.top")
    (package / "apart.py").write_text("z = 2\n")
    assert fresh("shelf.top") == before


def test_a_registry_that_is_left_out_leads_nowhere(package: Path) -> None:
    def version() -> str:
        fresh()
        return under_test.code_version("shelf.top", "shelf.apart", without=("shelf.inner",))

    before = version()
    for name in ("inner.py", "tool.py"):
        with (package / name).open("a") as file:
            file.write("# a line\n")
    assert version() == before
    (package / "apart.py").write_text("z = 2\n")
    assert version() != before


def test_a_package_stands_for_all_its_modules(package: Path) -> None:
    before = fresh("shelf")
    (package / "apart.py").write_text("z = 2\n")
    assert fresh("shelf") != before


def test_a_data_file_beside_a_module_counts(package: Path) -> None:
    before = fresh("shelf.top")
    (package / "schema.pbtxt").write_text("feature {}\n")
    assert fresh("shelf.top") != before


def test_the_version_of_a_library_counts_where_it_is_imported(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "inner.py").write_text("def f():\n    import numpy as np\n")
    versions = {"numpy": "1", "tfx": "1", "tfx-bsl": "1", "apache-beam": "1", "scann": "1"}
    monkeypatch.setattr(under_test.metadata, "version", versions.__getitem__)
    before = {names: fresh(*names) for names in (("shelf.top",), ("shelf.apart",), ("tfx",))}
    assert before[("tfx",)] != before[("shelf.apart",)]
    versions["numpy"] = versions["scann"] = "2"
    after = {names: fresh(*names) for names in before}
    assert {names for names in before if before[names] != after[names]} == {("shelf.top",)}
    versions["tfx-bsl"] = "2"
    assert fresh("tfx") != after[("tfx",)]
    assert fresh("shelf.top", "tfx") != fresh("shelf.top")


def test_a_library_that_is_not_installed_here_is_no_error(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "top.py").write_text("import scann\n")
    monkeypatch.setitem(under_test.LIBRARIES, "scann", ("no-such-distribution",))
    assert fresh("shelf.top")


def test_order_of_names_does_not_matter(package: Path) -> None:
    assert fresh("shelf.top", "shelf.apart") == fresh("shelf.apart", "shelf.top")


def test_a_missing_module_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="transforms.no_such_module"):
        fresh("transforms.no_such_module")
