from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import vl_convert

from tests.helpers import browser
from tests.helpers.pages import Page
from tests.helpers.recorded_runs import Step
from tests.helpers.recorded_runs import record_run
from tfx_pipeline.evaluation.measured import Measured
from tfx_pipeline.report import facts
from tfx_pipeline.report import intervals
from tfx_pipeline.report.card import Card
from tfx_pipeline.report.data import DataReport
from tfx_pipeline.report.gather import Evaluation
from tfx_pipeline.report.gather import Gate
from tfx_pipeline.report.gather import Missing
from tfx_pipeline.report.gather import StageReport
from tfx_pipeline.report.page import StageView
from tfx_pipeline.report.page import render_card
from tfx_pipeline.report.page import render_report
from tfx_pipeline.report.rendering import render
from tfx_pipeline.report.samples import Item
from tfx_pipeline.report.samples import Sample
from tfx_pipeline.report.samples import Samples
from tfx_pipeline.runners.recorded import read_run
from tfx_pipeline.stages.table import STAGES

SECTIONS = ("verdict", "metrics", "samples", "index", "training", "data", "card", "lineage")
MARKUP = '</script><img src="x" onerror="alert(1)"><b>'


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run that failed in its Trainer."""
    run_dir = tmp_path_factory.mktemp("stopped")
    generator = Step("timeline-example-gen", properties={"input_fingerprint": "abcd"})
    record_run(run_dir, [generator, Step("trainer", "FAILED")])
    return render_report(read_run(str(run_dir)))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of which every text that data decide is markup."""
    run_dir = tmp_path_factory.mktemp("hostile")
    record_run(run_dir, [Step("timeline-example-gen", properties={"log_dir": MARKUP})])
    values = {MARKUP: {"hr@10": Measured(0.5, 0.4, 0.6), "users": Measured(9.0)}}
    evaluation = Evaluation({"this model": {"": values[MARKUP]}}, {}, MARKUP, MARKUP, ("hr@10",), 9)
    beside = {"this model": {MARKUP: Measured(0.5)}, MARKUP: {MARKUP: Measured(0.4)}}
    report = StageReport(
        STAGES["retrieval"],
        MARKUP,
        False,
        (Gate("evaluator", False, (MARKUP,)),),
        MARKUP,
        evaluation,
        Missing(MARKUP),
        Missing(MARKUP),
        Missing(MARKUP),
    )
    view = StageView(report, [intervals.slices(MARKUP, "hr@10", beside)], [], [], [], None)
    items = (Item(MARKUP, MARKUP, MARKUP, hit=True),)
    return render(
        "report.html",
        title=MARKUP,
        run=read_run(str(run_dir)),
        stages=[view],
        data=DataReport(Missing(MARKUP), Missing(MARKUP), Missing(MARKUP)),
        samples=Samples(MARKUP, (Sample(MARKUP, 1, items, items, 1),), MARKUP),
        card=Card((MARKUP,), (MARKUP,), (MARKUP,), (MARKUP,)),
        facts=facts,
    )


def test_a_page_of_a_run_that_stopped_has_every_section_and_says_what_is_missing(stopped: str):
    page = Page(stopped)
    assert [one["id"] for one in page.all("section")] == list(SECTIONS)
    assert "FAILED in trainer" in page.text
    assert "The run stopped in trainer , before evaluator began." in page.text
    assert "trainer failed;" in page.text
    assert "abcd" in page.text


def test_a_page_stands_alone_and_fits_a_phone(stopped: str):
    page = Page(stopped)
    assert page.addresses() == []
    assert len(stopped.encode()) < 5e6
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all(
        "meta"
    )
    (policy,) = [one for one in page.all("meta") if one.get("http-equiv")]
    assert str(policy["content"]).startswith("default-src 'none'")


def test_plots_are_drawn_by_what_the_page_brings(stopped: str):
    (seconds,) = Page(stopped).specs
    assert "transform" not in str(seconds)
    svg = vl_convert.vegalite_to_svg(seconds)
    assert "timeline-example-gen" in svg
    assert "window.vegaEmbed" in stopped


def test_markup_in_data_is_text(hostile: str):
    page = Page(hostile)
    assert page.all("img") == []
    assert page.all("b") == [{}, {}]  # the page's own
    assert page.text.count(MARKUP) > 15
    (spec,) = page.specs
    assert MARKUP in str(spec)


def test_every_plot_has_an_accessible_name(hostile: str):
    plots = [one for one in Page(hostile).all("div") if one.get("class") == "plot"]
    assert [one["role"] for one in plots] == ["img"]
    assert str(plots[0]["aria-label"]).startswith("hr@10 by ")


@pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())
@pytest.mark.parametrize("width", list(browser.WIDTHS))
def test_a_browser_shows_hostile_data_without_running_them(
    hostile: str, width: str, tmp_path: Path
):
    file = tmp_path / "page.html"
    file.write_text(hostile, encoding="utf-8")
    seen = browser.look_at(file, width, tmp_path)
    assert (seen.messages, seen.requests, seen.unnamed) == ([], [], [])
    assert (seen.overflow, seen.plots) == (0, (1, 1))


def test_a_card_of_a_run_that_stopped_says_that_nothing_is_known(tmp_path: Path):
    config: dict[str, Any] = {"retrieval": {"trainer": {"model": {"family": "two_tower"}}}}
    pusher = Step("pusher", "RUNNING", {"run_config": config})
    record_run(tmp_path, [Step("trainer", "FAILED"), pusher])
    card = render_card(read_run(str(tmp_path)))
    assert "Nothing is known of the quality of the stage retrieval" in card
    assert "shop, the two_tower model: proposes items of every type" in card
    assert "retrieval.trainer.model.family: two_tower" in card
