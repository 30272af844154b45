"""What tables of image features depend on: a part of the section `representation`.

In a file of its own, so that the version of the code that makes them follows no model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transforms.base_config import Config

if TYPE_CHECKING:
    from tfx_pipeline.image_features.config import RepresentationConfig


def cluster_field(field: str) -> str:
    """Returns the declared field that holds the clusters of another's vectors."""
    return f"{field}_cluster"


class TablesConfig(Config):
    """What tables of image features depend on besides the log and the encoder.

    Attributes:
        field: See `RepresentationConfig`.
        clusters: Likewise.
        dim: d, length of a vector.
        seed: Of the clusters.
        candidate_types: Entity types whose images are embedded.
    """

    field: str
    clusters: int
    dim: int
    seed: int
    candidate_types: tuple[str, ...]

    @classmethod
    def of(cls, section: RepresentationConfig, candidate_types: tuple[str, ...]) -> TablesConfig:
        """Returns what a section says of the tables."""
        trainer = section.trainer
        return cls(
            field=section.field,
            clusters=section.clusters,
            dim=trainer.model.dim,
            seed=trainer.seed,
            candidate_types=candidate_types,
        )

    @property
    def cluster_field(self) -> str:
        """The declared field that holds the clusters."""
        return cluster_field(self.field)
