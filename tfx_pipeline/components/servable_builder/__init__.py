"""The component that joins towers and index into what is evaluated and pushed."""

from tfx_pipeline.components.servable_builder.component import ServableBuilder

__all__ = ["ServableBuilder"]
