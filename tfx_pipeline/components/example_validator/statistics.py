"""How `StatisticsGen` counts timelines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow_data_validation as tfdv


def statistics_options() -> tfdv.StatsOptions:
    """Returns options for `StatisticsGen` that suit ragged timelines.

    The schema is not among them: as an option it would be serialised in an
    order that changes from process to process, and TFX's cache would never
    answer. Give `StatisticsGen` the schema's channel beside these options.

    Returns:
        Options with short histograms, as validation needs no more.
    """
    import tensorflow_data_validation as tfdv

    return tfdv.StatsOptions(num_rank_histogram_buckets=100, num_top_values=20)
