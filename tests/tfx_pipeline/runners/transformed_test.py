"""What a run transformed, found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfx_pipeline.runners.transformed import last_transformed


def test_the_newest_of_both_is_taken(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has come as far as Transform"):
        last_transformed(tmp_path)
    root = tmp_path / "artifacts" / "transform"
    for number in (9, 10):
        for kind in ("transform_graph", "transformed_examples"):
            (root / kind / str(number) / "Split-train").mkdir(parents=True)
    found = last_transformed(tmp_path)
    assert found.graph == root / "transform_graph" / "10"
    assert found.examples == root / "transformed_examples" / "10"
    (found.examples / "Split-train" / "b.gz").touch()
    (found.examples / "Split-train" / "a.gz").touch()
    assert [Path(path).name for path in found.files("train")] == ["a.gz", "b.gz"]
