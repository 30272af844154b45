"""The curated schema as an artifact of the run."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.schema_gen.import_schema_gen import executor as tfx_executor
from tfx.dsl.components.base import base_component
from tfx.dsl.components.base import executor_spec
from tfx.types import Artifact
from tfx.types import standard_artifacts
from tfx.types import standard_component_specs as keys
from tfx.types.component_spec import ChannelParameter
from tfx.types.component_spec import ComponentSpec
from tfx.types.component_spec import ExecutionParameter

from transforms.schema import schema_path


class Executor(tfx_executor.Executor):
    """Copies the schema that is installed where it runs."""

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
            exec_properties: Not read.
        """
        properties = exec_properties | {keys.SCHEMA_FILE_KEY: schema_path()}
        super().Do(input_dict, output_dict, properties)


class CuratedSchemaGenSpec(ComponentSpec):
    """Outputs and execution properties of the schema's component."""

    PARAMETERS = {"code_version": ExecutionParameter(type=str)}
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {keys.SCHEMA_KEY: ChannelParameter(type=standard_artifacts.Schema)}


class CuratedSchemaGen(base_component.BaseComponent):
    """Brings the committed schema into the run.

    TFX's `ImportSchemaGen` knows the schema by its path: a changed file is
    answered from the cache, and the path of the machine that compiled the
    pipeline need not exist in a container. This one finds the file where it
    runs and is known by the version of the code.

    Args:
        code_version: Hash of the package that holds the schema.
    """

    SPEC_CLASS = CuratedSchemaGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, code_version: str = "") -> None:
        schema = types.Channel(type=standard_artifacts.Schema)
        super().__init__(spec=CuratedSchemaGenSpec(code_version=code_version, schema=schema))
