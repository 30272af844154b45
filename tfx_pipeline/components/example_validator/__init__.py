"""Validation of the examples: anomalies stop the run with their names."""

from tfx_pipeline.components.example_validator.component import TimelineExampleValidator
from tfx_pipeline.components.example_validator.schema_gen import CuratedSchemaGen
from tfx_pipeline.components.example_validator.statistics import statistics_options

__all__ = ["CuratedSchemaGen", "TimelineExampleValidator", "statistics_options"]
