"""The section `representation` of the configuration. Free of TensorFlow and TFX."""

from __future__ import annotations

from pydantic import Field
from pydantic import field_validator

from models.config import RepresentationTrainerConfig
from tfx_pipeline.image_features.tables_config import cluster_field
from transforms.base_config import Config
from transforms.catalogue_fields import NAME
from transforms.catalogue_fields import CatalogueFields


class RepresentationConfig(Config):
    """The section `representation`: features of images, as declared fields of the catalogue.

    Attributes:
        in_pipeline: Whether a run makes them, as its first stage, and declares them; otherwise
            `vitrine image-features` writes them into the log, where a run finds them.
        encoder: What an earlier run or an earlier `vitrine image-features` made: its encoder and
            its clusters are used as they are, and nothing is trained. A new encoder when empty.
        field: The declared field that holds the vectors, `features/<field>`; clusters are in
            `features/<field>_cluster`.
        trainer: The encoder and how it is trained.
        clusters: How many clusters the vectors are divided into.
    """

    in_pipeline: bool = True
    encoder: str = ""
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
        return cluster_field(self.field)

    def declare(self, fields: CatalogueFields) -> CatalogueFields:
        """Returns declared fields with the two that are made here.

        Raises:
            ValueError: They are declared as something else.
        """
        dim = self.trainer.model.dim
        if fields.vectors.get(self.field, dim) != dim:
            raise ValueError(
                f"`timeline.catalogue_fields.vectors.{self.field}` "
                f"({fields.vectors[self.field]}) is `representation.trainer.model.dim` ({dim}); "
                "set that one alone."
            )
        others = tuple(name for name in fields.tokens if name != self.cluster_field)
        return CatalogueFields(
            vectors=fields.vectors | {self.field: dim}, tokens=(*others, self.cluster_field)
        )

    def undeclare(self, fields: CatalogueFields) -> CatalogueFields:
        """Returns declared fields without the two that are made here."""
        made = (self.field, self.cluster_field)
        return CatalogueFields(
            vectors={name: n for name, n in fields.vectors.items() if name not in made},
            tokens=tuple(name for name in fields.tokens if name not in made),
        )
