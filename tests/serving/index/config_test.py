from __future__ import annotations

import pytest

from serving.index.config import BuildConfig
from serving.index.config import CheckConfig
from serving.index.config import IndexConfig
from serving.index.config import ServeConfig


def test_a_section_holds_what_one_component_reads_and_no_more():
    config = IndexConfig(k=7, min_recall=0.5, leaves=11, exact_below=3, exclude_seen=("watch",))
    assert config.section(BuildConfig) == BuildConfig(leaves=11)
    assert config.section(CheckConfig) == CheckConfig(min_recall=0.5, exact_below=3)
    assert config.section(ServeConfig) == ServeConfig(k=7, exact_below=3, exclude_seen=("watch",))


def test_a_bound_does_not_touch_the_builders_section():
    loose = IndexConfig(min_recall=0.5).section(BuildConfig).to_json()
    assert loose == IndexConfig().section(BuildConfig).to_json()


@pytest.mark.parametrize("part", [BuildConfig, CheckConfig, ServeConfig, IndexConfig])
def test_json_and_back(part):
    assert part.model_validate_json(part().to_json()) == part()


def test_a_target_below_the_bound_is_refused():
    with pytest.raises(ValueError, match="tuned to fail"):
        IndexConfig(target_recall=0.9, min_recall=0.95)


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(ValueError, match="nearest is `leaves_to_search`"):
        IndexConfig(leaves_to_serach=3)


@pytest.mark.parametrize(
    ("candidates", "leaves", "searched"),
    [(1_000, 63, 63), (3_416, 132, 132), (100_000, 1_000, 100), (1_000_000, 3_981, 126)],
)
def test_default_sizes(candidates, leaves, searched):
    config = BuildConfig()
    assert config.leaves_for(candidates) == leaves
    assert config.default_leaves_to_search(candidates, leaves) == searched


def test_sizes_never_exceed_what_there_is():
    config = BuildConfig(leaves=50, leaves_to_search=40, reorder=900)
    assert config.leaves_for(10) == 10
    assert config.default_leaves_to_search(10, 10) == 10
    assert config.default_reorder(10) == 10


def test_only_a_tree_is_in_parts_and_none_is_empty():
    config = BuildConfig(parts=500, tree_from=100)
    assert [config.parts_for(size) for size in (99, 100, 499, 10_000)] == [1, 100, 499, 500]
    assert BuildConfig().parts_for(1_000_000) == 1
