"""The component that embeds the catalogue and builds its index."""

from tfx_pipeline.components.index_builder.component import IndexBuilder

# What runs in this component, for `code_version`.
SOURCES = (
    "serving.index.build",
    "serving.index.config",
    "serving.index.embed",
    "serving.index.files",
    "serving.index.processes",
    "serving.index.records",
    "serving.index.scann_files",
    "serving.index.scann_search",
    "serving.index.search_quality",
    "serving.index.shards",
    "serving.index.towers",
    "serving.index.tuning",
    "tfx_pipeline.components.index_builder",
    "tfx_pipeline.components.locations",
    "transforms.base_config",
    "transforms.features",
)

__all__ = ["SOURCES", "IndexBuilder"]
