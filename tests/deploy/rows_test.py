"""What is rendered for the second row of versions: its own versions, and none of the first."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deploy.render import render
from deploy.values import VALUES
from deploy.values import load_values


def rendered(out: Path, row: str) -> dict[str, str]:
    """Returns what is written for a row, by file."""
    files = render(load_values(VALUES, (f"row={row}",)), out / row)
    return {str(file.relative_to(out / row)): file.read_text() for file in files}


def test_the_second_row_names_its_versions_and_none_of_the_first(tmp_path):
    texts = rendered(tmp_path, "3.12")
    everything = "\n".join(texts.values())
    for version in ("3.10", "bookworm", "2.16", "2.62", "requirements.lock", "cuda.lock"):
        assert version not in everything
    services = yaml.safe_load(texts["compose.yaml"])["services"]
    assert {name: service["build"]["args"] for name, service in services.items()} == {
        "serving": {"TF_SERVING": "2.21.0"},
        "serving-gpu": {"TF_SERVING": "2.21.0-gpu"},
        "local-server": {"PYTHON": "3.12-slim-trixie", "LOCK": "requirements-3.12.lock"},
        "pipeline": {
            "PYTHON": "3.12-slim-trixie",
            "LOCK": "requirements-3.12.lock",
            "CUDA_LOCK": "cuda-3.12.lock",
        },
        "beam-worker": {
            "PYTHON": "3.12-slim-trixie",
            "LOCK": "requirements-3.12.lock",
            "BEAM": "2.77.0",
            "BEAM_PYTHON": "3.12",
        },
    }


def test_images_of_two_rows_have_two_names_and_all_else_is_the_same(tmp_path):
    first, second = (rendered(tmp_path, row) for row in ("3.10", "3.12"))
    assert "-py3.12" not in "\n".join(first.values())
    images = 0
    for name in first.keys() - {"compose.yaml"}:
        assert second[name].replace("0.1.0-py3.12\n", "0.1.0\n") == first[name]
        images += second[name].count("-py3.12\n")
    assert images == 2  # of servers, and of the workers that train
    composed = (yaml.safe_load(texts["compose.yaml"])["services"] for texts in (first, second))
    for one, other in zip(*map(dict.values, composed), strict=True):
        assert other.pop("image") == one.pop("image") + "-py3.12"
        assert one.pop("build")["args"].keys() <= other.pop("build")["args"].keys()
        assert one == other


@pytest.mark.parametrize("written", ["3.10", "'3.10'", "3.12", "'3.12'"])
def test_a_row_may_be_written_without_quotes(written):
    assert load_values(VALUES, (f"row={written}",)).row == written.strip("'")


def test_the_first_row_is_what_ships():
    assert load_values().row == "3.10"


def test_a_file_of_one_row_says_which(tmp_path):
    given, path = yaml.safe_load(VALUES.read_text()), tmp_path / "values.yaml"
    del given["rows"]["3.12"]
    path.write_text(yaml.safe_dump(given))
    assert load_values(path).bases.beam == "2.62.0"
    with pytest.raises(ValueError, match="one of the `rows`: 3.10. Received: 3.12"):
        load_values(path, ("row=3.12",))
