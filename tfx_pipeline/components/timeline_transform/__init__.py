"""TFX's Transform, with a faster way to write what it transformed."""

from tfx_pipeline.components.timeline_transform.component import TimelineTransform

__all__ = ["TimelineTransform"]
