"""The component that embeds the catalogue and builds its index."""

from tfx_pipeline.components.index_builder.component import IndexBuilder

__all__ = ["IndexBuilder"]
