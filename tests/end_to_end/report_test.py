"""Reports of real runs, looked at in a browser where there is one."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest
import vl_convert
from nbclient import NotebookClient

from tests.end_to_end.conftest import Run
from tests.helpers import browser
from tests.helpers.pages import Page
from tfx_pipeline.commands.report import write_report
from tfx_pipeline.report.samples import gather_samples
from tfx_pipeline.runners.recorded import RecordedRun
from tfx_pipeline.runners.recorded import read_runs

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

ROOT = Path(__file__).parents[2]
LARGEST = 5e6  # bytes of a page
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def recorded(run: Run) -> RecordedRun:
    """The first run that trained the model of `run`."""
    found = read_runs(run.config.run_dir)
    return next(one for one in found if one.output("trainer", "model") == run.towers.parent)


@pytest.fixture(scope="module")
def pages(
    run: Run, recorded: RecordedRun, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The report, the card, and the report beside that of a copy without an evaluation."""
    folder = tmp_path_factory.mktemp(run.name)
    place = f"{run.config.run_dir}@{recorded.number}"
    page, card = folder / "report.html", folder / "card.md"
    write_report([place], False, page, card)
    copy = folder / "copy"
    shutil.copytree(run.config.run_dir, copy, copy_function=os.link)
    for lost in ("evaluator", "statistics-gen", "servable-builder"):
        shutil.rmtree(copy / "artifacts" / lost)
    without, comparison = folder / "without.html", folder / "comparison.html"
    write_report([f"{copy}@{recorded.number}"], False, without, None)
    write_report([place, f"{copy}@{recorded.number}"], True, comparison, None)
    return {"report": page, "card": card, "without": without, "comparison": comparison}


def read(page: Path) -> Page:
    return Page(page.read_text(encoding="utf-8"))


def test_a_report_shows_every_part(run: Run, pages: dict[str, Path]) -> None:
    page = read(pages["report"])
    assert "Not in this report" not in page.text
    assert f"{run.metrics['test']['hr@10']:.4f}" in page.text
    assert f"{run.metrics['test']['neighbours/hr@10']:.4f}" in page.text
    described = " ".join(str(one.get("aria-label")) for one in page.all("div"))
    for part in ("Training loss", "Recall rises", "Lengths of timelines", "Seconds of each"):
        assert part in described
    assert ("tenth of the predicted probability" in described) == ("ranking" in run.metrics)
    assert len(page.all("article")) == 10
    assert all("<svg" in vl_convert.vegalite_to_svg(spec) for spec in page.specs)


def test_pages_stand_alone(pages: dict[str, Path]) -> None:
    for name in ("report", "without", "comparison"):
        assert pages[name].stat().st_size < LARGEST
        assert read(pages[name]).addresses() == []


def test_what_users_see_is_what_the_pushed_version_answers(run: Run, recorded: RecordedRun) -> None:
    import tensorflow as tf

    samples = gather_samples(recorded)
    signature = tf.saved_model.load(str(run.version)).signatures["serving_default"]
    raw = {one: tf.train.Example.FromString(one) for one in run.examples("test")}
    users = {
        example.features.feature["user_id"].bytes_list.value[0].decode(): one
        for one, example in raw.items()
    }
    assert len({one.user for one in samples.users}) == 10
    for sample in samples.users:
        answer = signature(examples=tf.constant([users[sample.user]]))["classes"].numpy()[0]
        expected = [name.decode() for name in answer if name]
        shown = [item.entity for item in sample.shown]
        if "ranking" in run.metrics:  # in the order of the ranker
            assert set(shown) <= set(expected)
        else:
            np.testing.assert_array_equal(shown, expected[:10])
        assert all(item.title != item.entity for item in sample.shown)


def test_a_part_that_is_gone_is_said_to_be(run: Run, pages: dict[str, Path]) -> None:
    text = read(pages["without"]).text
    assert len(re.findall("its files are no longer in", text)) >= 3
    assert "evaluator made evaluation" in text.replace("  ", " ")
    if "ranking" in run.metrics:  # which is asked about pages then
        assert "The ranker put candidates of a page in this order" in text
    beside = read(pages["comparison"]).text
    assert "is not among the metrics." in beside
    assert "2 runs side by side" in beside


def test_a_card_says_metrics_by_slice_limits_and_lineage(run: Run, pages: dict[str, Path]) -> None:
    card = pages["card"].read_text(encoding="utf-8")
    assert "| slice/activity=0 |" in card
    assert "were measured on" not in card
    assert "only a test on users tells" in card
    assert f"name: {run.config.name}" in card
    assert re.search(r"fingerprint `[0-9a-f]{64}`", card)


@pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())
@pytest.mark.parametrize("width", list(browser.WIDTHS))
@pytest.mark.parametrize("name", ["report", "without", "comparison"])
def test_a_browser_shows_it(pages: dict[str, Path], name: str, width: str, tmp_path: Path) -> None:
    seen = browser.look_at(pages[name], width, tmp_path)
    assert (seen.messages, seen.requests, seen.unnamed) == ([], [], [])
    assert seen.overflow == 0
    assert seen.plots[0] == seen.plots[1] > 0
    assert seen.screenshot.stat().st_size > 10_000


def test_the_evaluation_opens_in_tfmas_own_views(
    run: Run, recorded: RecordedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = nbformat.read(ROOT / "docs" / "evaluation.ipynb", 4)
    monkeypatch.setenv("RUN", f"{run.config.run_dir}@{recorded.number}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    views = [one for one in shown if WIDGET in one.get("data", {})]
    assert len(views) == 2
    assert all("SlicingMetricsViewer" in one["data"]["text/plain"] for one in views)
    assert f"{run.metrics['test']['hr@10']:.6f}" in shown[-1]["data"]["text/html"]
