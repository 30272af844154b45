"""Runs the pusher."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

from absl import logging
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor

from serving.index.embedding.records import read_batches
from serving.publishing.announce import announce_again
from serving.publishing.config import PusherConfig
from serving.publishing.labels import read_labels
from serving.publishing.links import link_or_copy
from serving.publishing.origin import EVALUATION
from serving.publishing.origin import NOT_PUSHED
from serving.publishing.origin import content_id
from serving.publishing.origin import pushed_already
from serving.publishing.origin import write_origin
from serving.publishing.push import push
from serving.publishing.warmup import write_warmup
from tfx_pipeline.components import locations
from tfx_pipeline.components.verdict import read_reasons
from tfx_pipeline.evaluation.report import read_failures

RUN_CONFIG = "config.json"


class Executor(base_executor.BaseExecutor):
    """Pushes a servable when the model, its index and its answers are blessed."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes a version, or says why not.

        What is served already is not pushed again: only the files that servers are
        started with are written.

        Args:
            input_dict: `servable`, `index_blessing`, `model_blessing`,
                `evaluation`, `examples` (split `test`) and, where serving is
                validated, `serving_blessing`.
            output_dict: `pushed_model`.
            exec_properties: `config` and `run_config` as JSON, `push_dir`,
                `candidate`, `serving_state`, `code_version`.

        Raises:
            FileNotFoundError: The servable is not complete.
            OSError: The disk is full; the served version stays whole.
            RuntimeError: Another push is running.
            ValueError: A model configuration file cannot be read.
        """
        config = PusherConfig.model_validate_json(exec_properties["config"])
        (pushed,) = output_dict["pushed_model"]
        reasons = objections(input_dict)
        if reasons:
            _refuse(pushed, *reasons)
            return
        push_dir = Path(exec_properties["push_dir"])
        labels = read_labels(push_dir)  # fails before anything is copied
        run_config = json.loads(exec_properties["run_config"])
        candidate = exec_properties["candidate"]
        servable = locations.saved_model(input_dict, "servable")
        content = content_id(servable, config)

        def complete(version_dir: Path) -> None:
            evaluation = locations.directory(input_dict, "evaluation")
            shutil.copytree(evaluation, version_dir / EVALUATION)
            text = json.dumps(run_config, indent=1, sort_keys=True)
            (version_dir / RUN_CONFIG).write_text(text + "\n", encoding="utf-8")
            write_origin(version_dir, candidate, exec_properties["serving_state"], content)
            files = locations.record_files(input_dict, "examples", "test")
            batches = read_batches(files, 32, config.warmup_requests)
            timelines = itertools.chain.from_iterable(batches)
            write_warmup(version_dir, timelines, config.batching.max_batch_size)

        name = run_config.get("name", push_dir.name)
        version = pushed_already(push_dir, candidate, content)
        if labels is not None and version in labels.withdrawn:
            _refuse(
                pushed,
                f"version {version} is this servable, and was rolled back; `vitrine push promote "
                f"--version {version}` brings it back",
            )
            return
        if version is None:
            version = push(push_dir, servable, complete, name, config)
        else:
            announce_again(push_dir, config)
            logging.info("Version %d is this servable; it is not pushed again.", version)
        place = push_dir / str(version)
        # The artifact keeps what was pushed, as TFX does.
        shutil.copytree(place, pushed.uri, copy_function=link_or_copy, dirs_exist_ok=True)
        pushed.set_int_custom_property("pushed", 1)
        pushed.set_string_custom_property("pushed_destination", str(place))
        pushed.set_string_custom_property("pushed_version", str(version))


def _refuse(pushed: Any, *reasons: str) -> None:
    for reason in reasons:
        logging.error("Not pushed: %s.", reason)
    text = "; ".join(reasons)
    pushed.set_int_custom_property("pushed", 0)
    pushed.set_string_custom_property("not_pushed_because", text)
    Path(pushed.uri).mkdir(parents=True, exist_ok=True)
    (Path(pushed.uri) / NOT_PUSHED).write_text(f"{text}\n", encoding="utf-8")


def objections(input_dict: dict[str, list[Any]]) -> list[str]:
    """Says what keeps a servable from being pushed; nothing when all is blessed."""
    reasons = []
    verdicts = {
        "the index is not blessed": input_dict["index_blessing"],
        "what a server answers is not blessed": input_dict.get("serving_blessing", []),
    }
    for refusal, blessings in verdicts.items():
        for blessing in blessings:
            if not model_utils.is_model_blessed(blessing):
                reasons.append(f"{refusal} ({'; '.join(read_reasons(Path(blessing.uri)))})")
    (model_blessing,) = input_dict["model_blessing"]
    if not model_utils.is_model_blessed(model_blessing):
        failures = read_failures(locations.directory(input_dict, "evaluation"))
        reasons.append(f"the model is not blessed ({'; '.join(failures)})")
    return reasons
