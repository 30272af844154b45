"""The section `representation` of the configuration. Free of TensorFlow and TFX."""

from __future__ import annotations

from pydantic import Field
from pydantic import field_validator

from models.config import RepresentationTrainerConfig
from transforms.base_config import Config
from transforms.catalogue_fields import NAME


class RepresentationConfig(Config):
    """The section `representation`: features of images, which `vitrine image-features` makes.

    Attributes:
        field: The declared field that holds the vectors, `features/<field>`; clusters are in
            `features/<field>_cluster`.
        trainer: The encoder and how it is trained.
        clusters: How many clusters the vectors are divided into.
    """

    field: str = "courier"
    trainer: RepresentationTrainerConfig = RepresentationTrainerConfig()
    clusters: int = Field(default=1_000, ge=1)

    @field_validator("field")
    @classmethod
    def _is_a_name(cls, field: str) -> str:
        if not NAME.fullmatch(f"{field}_cluster"):
            raise ValueError(
                "A field is named by at most 56 lower-case letters, digits and `_`, of which the "
                f"first is a letter. Received: {field!r}."
            )
        return field

    @property
    def cluster_field(self) -> str:
        """The declared field that holds the clusters."""
        return f"{self.field}_cluster"
