from __future__ import annotations

import json

import numpy as np
import pytest

from serving.sources import combination
from serving.sources.combination import COMBINATION
from serving.sources.combination import CombinationError
from serving.sources.combination import Settings
from tests.helpers.sources import weights_of
from tests.helpers.sources import write_combination


def test_what_was_written_is_read(tmp_path):
    weights = weights_of(tower=1.5, repeat_habit=-0.25)
    settings = Settings(decay=0.5, event_types=("buy",))
    write_combination(tmp_path, weights, "lists", "towers", settings)
    found = combination.read(tmp_path)
    np.testing.assert_array_equal(found.weights, weights)
    assert (found.towers, found.neighbours, found.settings) == ("towers", "lists", settings)
    assert not found.is_tower and found.report["chosen"]["with_history"] == "joined"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": 99}, "format version 99"),
        ({"features": ["tower"]}, "has the features"),
        ({"weights": [[1.0]]}, "no finite weights of the shape"),
        ({"weights": weights_of(popularity=-1.0).tolist()}, "negative weight of `popularity`"),
        ({"settings": {"decoy": 1}}, "the nearest is `decay`"),
    ],
)
def test_a_damaged_file_is_refused_with_a_reason(tmp_path, changes, said):
    write_combination(tmp_path, weights_of(tower=1.0), "lists")
    content = json.loads((tmp_path / COMBINATION).read_text())
    (tmp_path / COMBINATION).write_text(json.dumps(content | changes))
    with pytest.raises(CombinationError, match=said) as error:
        combination.read(tmp_path)
    assert "Run SourceCombiner again" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="SourceCombiner"):
        combination.read(tmp_path)
