"""Retrieval metrics for TFMA, registered with it when this package is imported.

Labels are the targets of a user (strings, any number); predictions are a dict
with `classes` [B, k], ids best first with an empty tail where fewer exist.
"""

from tfx_pipeline.evaluation.metrics.listed import CoverageAtK
from tfx_pipeline.evaluation.metrics.listed import PopularityAtK
from tfx_pipeline.evaluation.metrics.listed import SeenAtK
from tfx_pipeline.evaluation.metrics.ranked import OverNeighbours
from tfx_pipeline.evaluation.metrics.ranked import RankedAtK
from tfx_pipeline.evaluation.metrics.ranked import RepeatShare
from tfx_pipeline.evaluation.metrics.ranked import Users
from tfx_pipeline.evaluation.metrics.ranked import UsersWithoutTarget

__all__ = [
    "CoverageAtK",
    "OverNeighbours",
    "PopularityAtK",
    "RankedAtK",
    "RepeatShare",
    "SeenAtK",
    "Users",
    "UsersWithoutTarget",
]
