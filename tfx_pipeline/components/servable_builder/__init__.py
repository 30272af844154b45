"""The component that joins towers and index into what is evaluated and pushed."""

from tfx_pipeline.components.servable_builder.component import ServableBuilder

# What runs in this component, for `code_version`.
SOURCES = (
    "serving.index.candidates",
    "serving.index.config",
    "serving.index.exact",
    "serving.index.files",
    "serving.index.form",
    "serving.index.portable",
    "serving.index.records",
    "serving.index.scann_files",
    "serving.index.searcher",
    "serving.index.servable",
    "serving.index.towers",
    "tfx_pipeline.components.locations",
    "tfx_pipeline.components.servable_builder",
    "transforms.base_config",
    "transforms.features",
)

__all__ = ["SOURCES", "ServableBuilder"]
