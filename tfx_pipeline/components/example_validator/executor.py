"""Executor of the validator."""

from __future__ import annotations

import os
from typing import Any

import tensorflow_data_validation as tfdv
from absl import logging
from tfx.components.example_validator import executor as tfx_executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import Artifact
from tfx.types import artifact_utils
from tfx.types import standard_component_specs as keys
from tfx.utils import io_utils
from tfx.utils import json_utils
from tfx.utils import writer_utils

from tfx_pipeline.components.example_validator import report
from transforms.schema import environment_of


class Executor(tfx_executor.Executor):
    """Validates each split in its schema environment and fails on any anomaly."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """Validates the statistics against the schema.

        Args:
            input_dict: `statistics` (one artifact) and `schema` (one artifact).
            output_dict: `anomalies`; the file `Split-<name>/SchemaDiff.pb` is
                written for every split before anything is raised.
            exec_properties: `exclude_splits`, a JSON list of names.

        Returns:
            The executor's output, with the anomalies artifact.

        Raises:
            ValueError: A split has anomalies or no examples; the message names
                split, feature, anomaly and what to do for each.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        statistics = artifact_utils.get_single_instance(input_dict[keys.STATISTICS_KEY])
        output = artifact_utils.get_single_instance(output_dict[keys.ANOMALIES_KEY])
        excluded = json_utils.loads(exec_properties.get(keys.EXCLUDE_SPLITS_KEY) or "[]")
        splits = [
            split
            for split in artifact_utils.decode_split_names(statistics.split_names)
            if split not in excluded
        ]
        output.split_names = artifact_utils.encode_split_names(splits)
        output.span = statistics.span
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict[keys.SCHEMA_KEY]))
        )
        found: list[report.Finding] = []
        blessed = {}
        for split in splits:
            anomalies = tfdv.validate_statistics(
                stats_artifact_utils.load_statistics(statistics, split).proto(),
                schema,
                environment=environment_of(split),
            )
            folder = artifact_utils.get_split_uri([output], split)
            writer_utils.write_anomalies(
                os.path.join(folder, tfx_executor.DEFAULT_FILE_NAME), anomalies
            )
            here = report.findings(split, anomalies)
            found += here
            blessed[split] = int(not here)
            logging.info(
                "Split %s, environment %s: %d anomalies.", split, environment_of(split), len(here)
            )
        output.set_json_value_custom_property(tfx_executor.ARTIFACT_PROPERTY_BLESSED_KEY, blessed)
        if found:
            raise ValueError(report.message(found))
        result = execution_result_pb2.ExecutorOutput()
        result.output_artifacts[keys.ANOMALIES_KEY].artifacts.append(output.mlmd_artifact)
        return result
