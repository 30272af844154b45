"""The component that checks an index and blesses it or does not."""

from tfx_pipeline.components.index_validator.component import IndexValidator

__all__ = ["IndexValidator"]
