"""Validation of the examples: anomalies stop the run with their names."""

from tfx_pipeline.components.example_validator.component import TimelineExampleValidator
from tfx_pipeline.components.example_validator.schema_gen import CuratedSchemaGen
from tfx_pipeline.components.example_validator.statistics import TimelineStatisticsGen

__all__ = ["CuratedSchemaGen", "TimelineExampleValidator", "TimelineStatisticsGen"]
