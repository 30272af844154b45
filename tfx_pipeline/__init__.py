"""The TFX pipeline: from event logs to a pushed, evaluated servable."""

import os
from typing import Any

# TFRS needs Keras 2, and TensorFlow reads this when it is first imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


def __getattr__(name: str) -> Any:
    # Kubeflow Pipelines imports an artifact type by its name, from here; TFX
    # takes half a minute to import, and the command line must not wait for it.
    if name in ("CatalogueFeatures", "NeighbourLists", "RetrievalIndex", "SourceCombination"):
        from tfx_pipeline import artifacts

        return getattr(artifacts, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
