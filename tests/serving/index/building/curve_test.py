from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from serving.index.building import curve

POINTS = [
    {"leaves_to_search": 1, "reorder": 40, "scanned": 120.5, "recall": 0.5},
    {"leaves_to_search": 2, "reorder": 40, "scanned": 240.0, "recall": 0.99},
    {"leaves_to_search": 9, "reorder": 80, "scanned": 1_080.0, "recall": 1.0},
]
SEARCH = {
    "leaves_to_search": 2,
    "reorder": 40,
    "recall_at": 10,
    "target_recall": 0.98,
    "tuned_on": 64,
    "curve": POINTS,
}
_SVG = "{http://www.w3.org/2000/svg}"


def test_a_setting_is_a_line_of_the_table():
    assert curve.to_csv(POINTS).splitlines() == [
        "leaves_to_search,reorder,scanned,recall",
        "1,40,120.5,0.5",
        "2,40,240.0,0.99",
        "9,80,1080.0,1.0",
    ]


def test_the_chosen_setting_has_a_star():
    lines = curve.to_text(SEARCH).splitlines()
    assert "recall@10" in lines[0]
    assert [line.startswith("*") for line in lines[1:]] == [False, True, False]
    assert lines[2].split() == ["*", "2", "40", "240", "0.99000"]


def test_the_plot_is_sound_and_goes_up():
    drawn = ElementTree.fromstring(curve.to_svg(SEARCH))
    circles = drawn.findall(f"{_SVG}circle")
    down = [float(circle.get("cy")) for circle in circles]
    across = [float(circle.get("cx")) for circle in circles]
    assert down == sorted(down, reverse=True) and across == sorted(across)
    assert [circle.get("r") for circle in circles] == ["3", "6", "3"]
    assert down[0] == 344 and down[2] == 40  # 0.5 is the lower edge, 1 the upper


def test_nothing_is_written_where_nothing_was_tuned(tmp_path):
    curve.write(tmp_path, {**SEARCH, "curve": []})
    assert list(tmp_path.iterdir()) == []
    assert "not tuned" in curve.to_text({**SEARCH, "curve": []})
