"""The curated schema as an artifact of the run."""

from __future__ import annotations

import os
from typing import Any

from tfx import types
from tfx.components.schema_gen import executor as tfx_executor
from tfx.dsl.components.base import base_component
from tfx.dsl.components.base import base_executor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.types import Artifact
from tfx.types import artifact_utils
from tfx.types import standard_artifacts
from tfx.types import standard_component_specs as keys
from tfx.types.component_spec import ChannelParameter
from tfx.types.component_spec import ComponentSpec
from tfx.types.component_spec import ExecutionParameter

from transforms.catalogue_fields import CatalogueFields
from transforms.schema import schema_text

FIELDS_KEY = "catalogue_fields"


class Executor(base_executor.BaseExecutor):
    """Writes the schema of the code that is installed where it runs."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `schema.pbtxt`.

        Args:
            input_dict: Nothing.
            output_dict: `schema`, one artifact.
            exec_properties: `catalogue_fields`: the declared fields as JSON, or nothing.
        """
        given = exec_properties.get(FIELDS_KEY)
        fields = CatalogueFields.model_validate_json(given) if given else None
        folder = artifact_utils.get_single_uri(output_dict[keys.SCHEMA_KEY])
        with fileio.open(os.path.join(folder, tfx_executor.DEFAULT_FILE_NAME), "w") as file:
            file.write(schema_text(fields))


class CuratedSchemaGenSpec(ComponentSpec):
    """Outputs and execution properties of the schema's component."""

    PARAMETERS = {
        "code_version": ExecutionParameter(type=str),
        FIELDS_KEY: ExecutionParameter(type=str, optional=True),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {keys.SCHEMA_KEY: ChannelParameter(type=standard_artifacts.Schema)}


class CuratedSchemaGen(base_component.BaseComponent):
    """Brings the curated schema into the run.

    TFX's `ImportSchemaGen` knows the schema by its path: a changed file is
    answered from the cache, and the path of the machine that compiled the
    pipeline need not exist in a container. This one makes the schema where it
    runs and is known by the version of the code and by the declared fields.

    Args:
        code_version: Hash of the package that holds the schema.
        fields: Declared fields of catalogue rows, which the schema has besides.
    """

    SPEC_CLASS = CuratedSchemaGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, code_version: str = "", fields: CatalogueFields | None = None) -> None:
        super().__init__(
            spec=CuratedSchemaGenSpec(
                code_version=code_version,
                catalogue_fields=fields.to_json() if fields and fields.names else None,
                schema=types.Channel(type=standard_artifacts.Schema),
            )
        )
