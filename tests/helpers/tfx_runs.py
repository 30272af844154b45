"""Small runs of real TFX components on the local runner."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.direct import ONE_WORKER
from transforms.catalogue_fields import CatalogueFields
from transforms.config import TransformConfig
from transforms.features import SPLITS


def run(
    log: Path,
    home: Path,
    transform: TransformConfig | None = None,
    fields: CatalogueFields | None = None,
) -> None:
    """Imports hand-made splits, validates them and, with a configuration, transforms them.

    Args:
        log: Directory with `Split-<name>/*.gz`, as `write_examples` writes it.
        home: Where artifacts and metadata go.
        transform: Transform's configuration; without it the run ends at the validator.
        fields: Declared fields of catalogue rows.
    """
    from tfx import v1 as tfx

    from tfx_pipeline.components.example_validator import CuratedSchemaGen
    from tfx_pipeline.components.example_validator import TimelineExampleValidator
    from tfx_pipeline.components.example_validator import TimelineStatisticsGen
    from tfx_pipeline.components.timeline_transform import TimelineTransform

    inputs = tfx.proto.Input(
        splits=[tfx.proto.Input.Split(name=name, pattern=f"Split-{name}/*") for name in SPLITS]
    )
    examples = tfx.components.ImportExampleGen(input_base=str(log), input_config=inputs).with_id(
        "examples"
    )
    schema = CuratedSchemaGen(code_version="1", fields=fields).with_id("import-schema-gen")
    statistics = TimelineStatisticsGen(
        examples=examples.outputs["examples"], schema=schema.outputs["schema"]
    ).with_id("statistics-gen")
    validator = TimelineExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    ).with_id("example-validator")
    components = [examples, statistics, schema, validator]
    if transform is not None:
        components.append(
            TimelineTransform(
                examples=examples.outputs["examples"],
                schema=schema.outputs["schema"],
                preprocessing_fn="transforms.preprocessing.preprocessing_fn",
                splits_config=tfx.proto.SplitsConfig(
                    analyze=["train", "catalogue"], transform=SPLITS
                ),
                custom_config={"config": transform.to_json()},
                disable_statistics=True,
                disable_analyzer_cache=True,
            ).with_id("transform")
        )
        components[-1].add_upstream_node(validator)
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="small",
            pipeline_root=str(home),
            components=components,
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                str(home / "metadata.sqlite")
            ),
            beam_pipeline_args=list(ONE_WORKER),
        )
    )


def artifact(home: Path, component: str, key: str) -> Path:
    """Returns the directory of the one artifact that a component wrote under a key."""
    (found,) = (home / component / key).iterdir()
    return found
