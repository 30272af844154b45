"""What the stages behind the shuffle have in common."""

from __future__ import annotations

import apache_beam as beam

from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig

Sorted = tuple[int, bytes, bytes]  # bucket, and where its rows and its users are


class Stage(beam.DoFn):
    """What both stages know.

    Args:
        config_json: The configuration as JSON.
        starts: Microseconds at which validation and test start, for `time-cut`.
        buckets: Number of buckets.
        uri: Where the artifact is.
    """

    def __init__(self, config_json: str, starts: tuple[int, int], buckets: int, uri: str) -> None:
        self._config_json = config_json
        self._starts = starts
        self._buckets = buckets
        self._uri = uri

    def setup(self) -> None:
        """Parses the configuration once a worker."""
        self._config = TimelineConfig.model_validate_json(self._config_json)
