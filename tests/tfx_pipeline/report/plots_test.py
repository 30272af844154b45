from __future__ import annotations

import pytest
import vl_convert

from tfx_pipeline.evaluation.config import value_order
from tfx_pipeline.evaluation.measured import Measured
from tfx_pipeline.report import curves
from tfx_pipeline.report import intervals
from tfx_pipeline.report.plot import COLOURS
from tfx_pipeline.report.plot import Plot
from tfx_pipeline.report.plot import look

CURVE = {
    "curve": [
        {"leaves_to_search": 1, "reorder": 200, "scanned": 20.0, "recall": 0.2},
        {"leaves_to_search": 9, "reorder": 200, "scanned": 900.0, "recall": 0.99},
    ],
    "leaves_to_search": 9,
    "reorder": 200,
    "recall_at": 100,
    "target_recall": 0.98,
}
VALUES = {"this model": Measured(0.5, 0.4, 0.6), "neighbours": Measured(0.25)}
PLOTS = {
    "metric": intervals.metric("hr@10", VALUES),
    "without intervals": intervals.metric("auc", {"this model": Measured(0.7)}),
    "slices": intervals.slices(
        "activity", "calibration", {"this model": {"10+": Measured(1.0), "1-9": Measured(0.9)}}, 1.0
    ),
    "epochs": curves.epochs(
        "Loss", "loss", {"run 1": [{"epoch": 1.0, "loss": 7.5}, {"epoch": 2.0, "loss": 6.5}]}
    ),
    "index": curves.index_curve(CURVE),
    "reliability": curves.reliability([{"predicted": 0.1, "observed": 0.2, "candidates": 5.0}]),
    "lengths": curves.lengths({"train": [(0.0, 1.0), (1.0, 80.0)]}),
    "seconds": curves.seconds([("trainer", "COMPLETE", 12.34), ("transform", "CACHED", 0.0)]),
}


@pytest.mark.parametrize("name", list(PLOTS))
def test_a_plot_is_drawn_named_and_in_figures(name: str):
    plot: Plot = PLOTS[name]
    assert "<svg" in vl_convert.vegalite_to_svg(dict(plot.spec))
    assert plot.spec["description"] == plot.description
    assert plot.spec["width"] == "container"
    assert all(row.keys() == plot.rows[0].keys() for row in plot.rows)


def test_a_metric_is_said_in_words_with_its_interval():
    assert PLOTS["metric"].description == "hr@10: this model 0.5 (0.4 to 0.6); neighbours 0.25."


def test_bars_are_drawn_where_there_are_intervals():
    assert "low:Q" not in str(PLOTS["without intervals"].spec)
    assert "'field': 'low'" in str(PLOTS["metric"].spec["layer"])
    assert "isValid" not in str(PLOTS["without intervals"].spec)


def test_the_setting_in_use_is_marked_on_the_curve():
    assert [row["chosen"] for row in PLOTS["index"].rows] == ["", "chosen"]
    assert "the setting in use looks at 900 for 0.9900" in PLOTS["index"].description


@pytest.mark.parametrize(
    "ordered",
    [["<1d", "1-7d", "7-30d", "30d+"], ["0", "1-9", "10-49", "200+"], ["9+", "head", "tail"]],
)
def test_slices_come_in_the_order_of_their_numbers(ordered: list[str]):
    assert sorted(sorted(ordered), key=value_order) == ordered


def test_a_model_has_the_same_colour_whatever_stands_beside_it():
    assert look(["this model", "most popular"], COLOURS) == [COLOURS[0], COLOURS[2]]
    assert look(["run 1", "run 2"], COLOURS) == list(COLOURS[:2])
