"""The component that checks an index and blesses it or does not."""

from tfx_pipeline.components.index_validator.component import IndexValidator

# What runs in this component, for `code_version`.
SOURCES = (
    "serving.index.build",
    "serving.index.check",
    "serving.index.config",
    "serving.index.embed",
    "serving.index.exact",
    "serving.index.files",
    "serving.index.form",
    "serving.index.portable",
    "serving.index.processes",
    "serving.index.records",
    "serving.index.scann_files",
    "serving.index.scann_search",
    "serving.index.search_quality",
    "serving.index.searcher",
    "serving.index.shards",
    "serving.index.towers",
    "serving.index.tuning",
    "serving.index.validate",
    "tfx_pipeline.components.index_validator",
    "tfx_pipeline.components.locations",
    "transforms.base_config",
    "transforms.features",
)

__all__ = ["SOURCES", "IndexValidator"]
