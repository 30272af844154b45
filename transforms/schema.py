"""The curated schema of the raw examples, made from the table of features.

One schema fits every log, because the features are generic; declared fields are added
to it. The one without any is committed as `schema.pbtxt`, so that a change is seen;
after a change to the table run `python -m transforms.schema`.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from transforms.catalogue_fields import CatalogueFields
from transforms.fields import FIELDS
from transforms.fields import Field
from transforms.fields import declared_fields

# A schema environment says which features an example has. Training timelines
# have no target, held-out ones have, and catalogue rows share nothing with both.
TIMELINE = "TIMELINE"
HELD_OUT = "HELD_OUT"
PAGE = "PAGE"
CATALOGUE = "CATALOGUE"
ENVIRONMENTS = (TIMELINE, HELD_OUT, PAGE, CATALOGUE)

_ENVIRONMENTS_OF_OWNER = {
    "timeline": (TIMELINE, HELD_OUT, PAGE),
    "event": (TIMELINE, HELD_OUT, PAGE),
    "page": (TIMELINE, HELD_OUT),
    "impression": (TIMELINE, HELD_OUT),
    "candidate": (PAGE,),
    "label": (PAGE,),
    "target": (HELD_OUT,),
    "slice": (TIMELINE, HELD_OUT, PAGE),
    "row": (CATALOGUE,),
}
_TYPES = {
    "bytes": schema_pb2.BYTES,
    "image": schema_pb2.BYTES,
    "int": schema_pb2.INT,
    "float": schema_pb2.FLOAT,
}


def schema_path() -> str:
    """Returns the path of the committed schema."""
    return str(Path(__file__).with_name("schema.pbtxt"))


def environment_of(split: str) -> str:
    """Returns the schema environment in which a split is validated.

    Args:
        split: A split's name, such as `train` or `catalogue`.

    Returns:
        `CATALOGUE` for the catalogue, `TIMELINE` for training timelines, `PAGE` for page
        examples and `HELD_OUT` for every other split.
    """
    if split.endswith("_pages"):
        return PAGE
    return {"catalogue": CATALOGUE, "train": TIMELINE}.get(split, HELD_OUT)


def make_schema(fields: CatalogueFields | None = None) -> schema_pb2.Schema:
    """Returns the schema of the raw examples: types, domains, environments, ragged tensors.

    Args:
        fields: Fields of catalogue rows besides those that every log may have.
    """
    schema = schema_pb2.Schema(default_environment=ENVIRONMENTS)
    representations = schema.tensor_representation_group[""].tensor_representation
    for field in FIELDS + declared_fields(fields.features if fields else ()):
        schema.feature.append(_feature(field))
        ragged = representations[field.name].ragged_tensor
        ragged.feature_path.step.append(field.name)
        ragged.row_partition_dtype = schema_pb2.TensorRepresentation.RowPartitionDType.INT64
    return schema


def schema_text(fields: CatalogueFields | None = None) -> str:
    """Returns the schema as text; without declared fields it is what `schema.pbtxt` holds."""
    header = "# Made by `python -m transforms.schema` from transforms/fields.py; do not edit.\n"
    return header + text_format.MessageToString(make_schema(fields))


def _feature(field: Field) -> schema_pb2.Feature:
    feature = schema_pb2.Feature(name=field.name, type=_TYPES[field.kind])
    absent = set(ENVIRONMENTS) - set(_ENVIRONMENTS_OF_OWNER[field.owner])
    feature.not_in_environment.extend(sorted(absent))
    feature.presence.min_count = 1 if field.required else 0
    if field.required:
        feature.presence.min_fraction = 1.0
    if field.owner in ("timeline", "row") and not field.many:
        feature.value_count.min = 1
        feature.value_count.max = 1
    elif field.required:
        feature.value_count.min = 1
    if field.kind == "float":
        feature.float_domain.disallow_nan = True
        feature.float_domain.disallow_inf = True
        if field.minimum is not None:
            feature.float_domain.min = field.minimum
    elif field.minimum is not None:
        feature.int_domain.min = int(field.minimum)
    elif field.kind == "image":
        feature.image_domain.SetInParent()
    return feature


if __name__ == "__main__":
    Path(schema_path()).write_text(schema_text(), encoding="utf-8")
