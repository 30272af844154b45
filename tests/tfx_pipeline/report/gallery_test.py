"""The gallery: neighbours and clusters of a log whose vectors are known."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.helpers.pages import Page
from tfx_pipeline.cli import cli
from tfx_pipeline.datasets.event_log import Manifest
from tfx_pipeline.datasets.event_log import write_event_log
from tfx_pipeline.report.gallery import GalleryConfig
from tfx_pipeline.report.gallery import nearest_others
from tfx_pipeline.report.gallery import render_gallery
from transforms.arrow import pa
from transforms.arrow import pq

TITLES = ["<b>east</b>", "also east", "north", "also north", "no image", "no vector"]
EAST_NORTH = [[1, 0], [0.9, 0.1], [0, 3], [0.2, 1], [-1, 0]]


def png(shade: int) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(np.full([8, 8, 3], shade, np.uint8)).save(encoded, "PNG")
    return encoded.getvalue()


def put(log: Path, field: str, column: str, values: list[list[float]] | list[list[str]]) -> None:
    folder = log / "features" / field
    folder.mkdir(parents=True)
    key = {"entity_type": ["item"] * len(values), "entity_id": list("abcde")[: len(values)]}
    pq.write_table(pa.table(key | {column: values}), folder / "part-0.parquet")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gallery") / "log"
    event = {"user_id": "u", "entity_type": "item", "entity_id": "a", "event": "click"}
    events = pa.Table.from_pylist([event | {"timestamp": 1_700_000_000_000_000, "ordinal": 0}])
    catalogue = pa.table(
        {
            "entity_type": ["item"] * 6,
            "entity_id": list("abcdef"),
            "title": TITLES,
            "image": pa.array([*map(png, (0, 60, 120, 180)), None, png(240)], pa.binary()),
        }
    )
    write_event_log(path, Manifest(name="g", source="test", time="real"), events, catalogue)
    put(path, "look", "vector", EAST_NORTH)
    put(path, "look_cluster", "tokens", [["c0"], ["c0"], ["c1"], ["c1"], ["c1"]])
    put(path, "other", "vector", [[0, 1], [1, 0], [0, 1], [1, 0]])
    return path


def rows_of(page: str) -> list[list[str]]:
    """Titles of the pictures of each list: a query and, for each field, its neighbours."""
    lists: list[list[str]] = []
    for tag, attributes in Page(page).elements:
        if tag == "ul":
            lists.append([])
        if tag == "img":
            lists[-1].append(str(attributes["alt"]))
    return lists


def test_neighbours_are_ordered_by_cosine_and_leave_out_the_image_itself() -> None:
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1], [0.8, 0.6]], np.float32)
    found = nearest_others(vectors, 0, 2)
    assert [row for row, _ in found] == [3, 1]
    np.testing.assert_allclose([cosine for _, cosine in found], [0.8, 0.6], atol=1e-6)
    assert len(nearest_others(vectors, 1, 9)) == 3


def test_each_field_shows_its_own_neighbours_of_the_same_images(log: Path) -> None:
    page = render_gallery(log, ["look", "other"], GalleryConfig(queries=9, neighbours=1))
    rows = rows_of(page)
    found = {rows[3 * one][0]: (rows[3 * one + 1], rows[3 * one + 2]) for one in range(4)}
    east, too, north, and_north = TITLES[:4]
    assert found == {
        east: ([too], [north]),
        too: ([east], [and_north]),
        north: ([and_north], [east]),
        and_north: ([north], [too]),
    }


def test_the_largest_cluster_comes_first_with_its_central_members(log: Path) -> None:
    """A thing without an image is named; c1 has [0, 1], [.2, .98] and [-1, 0]."""
    config = GalleryConfig(queries=1, neighbours=1, clusters=2, members=3)
    page = render_gallery(log, ["look"], config)
    assert rows_of(page)[2:] == [["north", "also north"], ["<b>east</b>", "also east"]]
    assert "3 images no image 2 images" in Page(page).text


def test_the_page_holds_all_it_shows(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "below" / "gallery.html"
    arguments = ["gallery", str(log), "--field", "look", "--field", "other", "--out", str(out)]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    page = Page(out.read_text(encoding="utf-8"))
    assert not page.addresses() and not page.all("script") and not page.all("b")
    assert "There is no field other_cluster in the log." in page.text
    assert out.stat().st_size < 100_000


def test_features_that_a_run_has_made_are_read_before_the_logs(log: Path, tmp_path: Path) -> None:
    put(tmp_path, "other", "vector", EAST_NORTH)
    config = GalleryConfig(queries=5, neighbours=2, clusters=0)
    made = render_gallery(log, ["look", "other"], config, tmp_path)
    lists = rows_of(made)  # a query, its neighbours by `look`, those by `other`
    assert lists and all(lists[row + 1] == lists[row + 2] for row in range(0, len(lists), 3))
    assert rows_of(render_gallery(log, ["look", "other"], config)) != lists


def test_a_field_that_is_not_there_is_refused(log: Path) -> None:
    with pytest.raises(ValueError, match="no .*features/courier.*image-features"):
        render_gallery(log, ["courier"], GalleryConfig())
