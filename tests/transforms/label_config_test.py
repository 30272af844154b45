"""Labels that no ranking model can learn are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from transforms.label_config import LabelConfig


@pytest.mark.parametrize("source", ["impressions", "values", "events"])
def test_each_source_names_event_types_and_each_type_once(source):
    with pytest.raises(ValidationError, match="1 to 32 types; received 0"):
        LabelConfig(source=source, events=())
    with pytest.raises(ValidationError, match="each type once"):
        LabelConfig(source=source, events=("click", "buy", "click"))


def test_heads_fit_a_bit_mask_of_32_bits():
    types = tuple(f"type-{number}" for number in range(33))
    assert LabelConfig(events=types[:32]).heads == types[:32]
    with pytest.raises(ValidationError, match="received 33"):
        LabelConfig(events=types)


def test_a_further_head_is_not_called_like_the_output_of_the_first():
    with pytest.raises(ValidationError, match="`scores` as a further head"):
        LabelConfig(events=("click", "scores"))
    assert LabelConfig(events=("scores", "click")).heads == ("scores", "click")
    assert LabelConfig(source="events", events=("click", "scores")).heads == ("clicked",)
