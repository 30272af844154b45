"""The executor of `TimelineExampleGen`."""

from __future__ import annotations

import posixpath
from typing import Any

from absl import logging
from apache_beam.io.filesystems import FileSystems
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from tfx_pipeline.components.timeline_example_gen import dead_letter
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.dead_letter import TooManyDeadLetters
from tfx_pipeline.components.timeline_example_gen.job import generate

LOG_DIR_KEY = "log_dir"
CONFIG_KEY = "config"
CODE_VERSION_KEY = "code_version"
FINGERPRINT_KEY = "input_fingerprint"
EXAMPLES_KEY = "examples"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Runs the Beam job and describes its output as TFX's example generators do."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Generates the examples.

        Args:
            input_dict: Nothing.
            output_dict: `examples`: one `Examples` artifact to fill.
            exec_properties: `log_dir`, `config` (JSON of `TimelineConfig`) and
                `input_fingerprint`.

        Raises:
            FileNotFoundError: No event log is there.
            ValueError: The log does not fit, too many of its rows are bad, or a
                split would be empty.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(output_dict[EXAMPLES_KEY])
        config = TimelineConfig.model_validate_json(exec_properties[CONFIG_KEY])
        try:
            generate(exec_properties[LOG_DIR_KEY], examples.uri, config, self._make_beam_pipeline)
        except TooManyDeadLetters as error:
            kept = _keep_dead_letters(examples.uri)
            raise ValueError(str(error).replace(error.directory, kept)) from error
        examples.split_names = artifact_utils.encode_split_names(list(config.splits))
        examples.set_int_custom_property("span", 0)
        examples.set_int_custom_property("version", 0)
        fingerprint = exec_properties.get(FINGERPRINT_KEY, "")
        examples.set_string_custom_property(FINGERPRINT_KEY, fingerprint)
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")
        logging.info("Timelines are in %s", examples.uri)


def _keep_dead_letters(uri: str) -> str:
    """Moves dead letters out of the artifact, which TFX removes when its executor fails.

    Returns:
        Where they are: `<component>/dead_letter/<execution>`.
    """
    component, execution = posixpath.dirname(posixpath.dirname(uri)), posixpath.basename(uri)
    target = posixpath.join(component, dead_letter.DIRECTORY, execution)
    if FileSystems.exists(target):
        FileSystems.delete([target])
    if not FileSystems.exists(posixpath.dirname(target)):
        FileSystems.mkdirs(posixpath.dirname(target))
    FileSystems.rename([posixpath.join(uri, dead_letter.DIRECTORY)], [target])
    return target
