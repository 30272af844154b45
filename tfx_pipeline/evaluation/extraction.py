"""Turns examples into TFMA's extracts; called by TFX's Evaluator.

Three things differ from TFMA's defaults. Features that nobody reads are dropped
before batches are taken apart, for timelines have many long ones. Every user is
asked a second time, without history, and counts in the slice `slice/activity=0`
then and in no other: few logs hold out events of users of whom nothing is known,
and yet every shop has such users. And slices that describe targets
(`slice/target_*` is aligned with `target/entity`) hold just these targets: of a
user with a popular and a rare target, the slice "tail" sees the rare one alone,
where TFMA would put both into both slices.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from transforms import features
from transforms import timelines
from transforms.arrow import pa

ALIGNED_PREFIX = "slice/target_"
_ASKED_AGAIN = "asked_again"  # marks the second time
_SLICE_STAGE = tfma.extractors.SLICE_KEY_EXTRACTOR_STAGE_NAME

SliceKey = tuple[tuple[str, Any], ...]


def custom_extractors(
    eval_shared_model: Any, eval_config: config_pb2.EvalConfig, tensor_adapter_config: Any = None
) -> list[Any]:
    """Returns TFMA's default extractors with the changes above.

    Args:
        eval_shared_model: The model or models under evaluation.
        eval_config: The configuration of the evaluation.
        tensor_adapter_config: How record batches become tensors; None to infer it.

    Returns:
        Extractors, the last of which gives the slice keys.

    Raises:
        ValueError: This version of TFMA has other extractors.
    """
    extractors = tfma.default_extractors(
        eval_shared_model=eval_shared_model,
        eval_config=eval_config,
        tensor_adapter_config=tensor_adapter_config,
    )
    *before, slicing = extractors
    if slicing.stage_name != _SLICE_STAGE:
        raise ValueError(
            f"TFMA's last extractor should be `{_SLICE_STAGE}`; it is `{slicing.stage_name}`. "
            "Adapt `custom_extractors` to this version of TFMA."
        )
    unbatch = before.pop()
    labels = {spec.label_key for spec in eval_config.model_specs}
    read = {key for spec in eval_config.slicing_specs for key in spec.feature_keys}
    read |= {key for spec in eval_config.slicing_specs for key in spec.feature_values}
    by_activity = features.SLICE_ACTIVITY in read
    read |= labels | {features.EVENT_ENTITY, features.EVENT_TYPE, features.REQUEST_TIME}
    read.add(_ASKED_AGAIN)
    again = tfma.extractors.Extractor("AskAgain", _AskAgain())
    return [
        *([again] if by_activity else []),
        *before,
        tfma.extractors.Extractor(
            unbatch.stage_name, _KeepFeatures(frozenset(read)) | unbatch.ptransform
        ),
        tfma.extractors.Extractor(_SLICE_STAGE, slicing.ptransform | _DivideTargets()),
    ]


class _AskAgain(beam.PTransform):
    """Repeats every batch without the histories."""

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        return extracts | "AskAgain" >> beam.FlatMap(lambda one: [one, *without_history(one)])


def without_history(extracts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields a batch of the same users and targets of whom no event is known.

    Args:
        extracts: TFMA's extracts of a batch of raw timelines, not parsed yet.

    Yields:
        The same with a changed `tfma.ARROW_RECORD_BATCH_KEY`, without the users who
        have no history anyway; nothing if there are no others.
    """
    batch: pa.RecordBatch = extracts[tfma.ARROW_RECORD_BATCH_KEY]
    unknown = [features.NO_HISTORY.encode()]
    if features.SLICE_ACTIVITY in batch.schema.names:
        activity = batch.column(features.SLICE_ACTIVITY).to_pylist()
        batch = batch.filter(pa.array([one != unknown for one in activity], pa.bool_()))
    if not batch.num_rows:
        return
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    dropped = timelines.HISTORY_PREFIXES
    columns = {name: columns[name] for name in columns if not name.startswith(dropped)}
    raw = columns[tfma.ARROW_INPUT_COLUMN]
    anonymous = [[timelines.without_history(one)] for one in raw.flatten().to_pylist()]
    columns[tfma.ARROW_INPUT_COLUMN] = pa.array(anonymous, raw.type)
    column = pa.array([unknown] * batch.num_rows, pa.large_list(pa.large_binary()))
    columns[features.SLICE_ACTIVITY] = column
    columns[_ASKED_AGAIN] = pa.array([[1]] * batch.num_rows, pa.large_list(pa.int64()))
    changed = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    yield {**extracts, tfma.ARROW_RECORD_BATCH_KEY: changed}


class _KeepFeatures(beam.PTransform):
    """Drops the features of a batch that no slice, label or metric reads."""

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__()
        self._names = names

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        names = self._names

        def keep(batch: dict[str, Any]) -> dict[str, Any]:
            kept = copy.copy(batch)
            batched = batch[tfma.FEATURES_KEY]
            kept[tfma.FEATURES_KEY] = {name: batched[name] for name in batched if name in names}
            return kept

        return extracts | "KeepFeatures" >> beam.Map(keep)


class _DivideTargets(beam.PTransform):
    """Gives every slice the targets that it describes."""

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        return extracts | "DivideTargets" >> beam.FlatMap(divide_targets)


def divide_targets(extracts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields extracts for one user: one for each different set of targets that a slice has.

    Args:
        extracts: TFMA's extracts of one example with slice keys.

    Yields:
        Extracts whose slice keys share the targets below `tfma.LABELS_KEY`.
    """
    if extracts[tfma.FEATURES_KEY].get(_ASKED_AGAIN) is not None:
        extracts = _of_activity(extracts)
    groups: dict[bytes, list[SliceKey]] = {}
    masks: dict[bytes, np.ndarray] = {}
    aligned = {
        name: np.ravel(values)
        for name, values in extracts[tfma.FEATURES_KEY].items()
        if name.startswith(ALIGNED_PREFIX) and values is not None
    }
    if all(len(set(values.tolist())) < 2 for values in aligned.values()):
        yield extracts  # the usual case: every slice has all targets
        return
    for key in extracts[tfma.SLICE_KEY_TYPES_KEY]:
        mask = _mask(key, aligned)
        if mask.size and not mask.any():
            continue  # crossed features of different targets
        masks[mask.tobytes()] = mask
        groups.setdefault(mask.tobytes(), []).append(key)
    for name, keys in groups.items():
        divided = copy.copy(extracts)
        divided[tfma.SLICE_KEY_TYPES_KEY] = np.fromiter(keys, object, len(keys))
        if masks[name].size:
            divided[tfma.LABELS_KEY] = _restrict(extracts[tfma.LABELS_KEY], masks[name])
        yield divided


def _of_activity(extracts: dict[str, Any]) -> dict[str, Any]:
    """Leaves the slice keys that name the activity: all users are counted without these."""
    keys = [
        key
        for key in extracts[tfma.SLICE_KEY_TYPES_KEY]
        if any(name == features.SLICE_ACTIVITY for name, _ in key)
    ]
    return {**extracts, tfma.SLICE_KEY_TYPES_KEY: np.fromiter(keys, object, len(keys))}


def _mask(key: SliceKey, aligned: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns [targets] bool, which targets a slice has; [0] when it has all."""
    mask = np.ones(0, bool)
    for name, value in key:
        if name in aligned:
            here = np.array([_text(one) == _text(value) for one in aligned[name]])
            mask = mask & here if mask.size else here
    return mask


def _restrict(labels: Any, mask: np.ndarray) -> Any:
    """Returns the labels where the mask is true, for one model or for several by name."""
    if isinstance(labels, Mapping):
        return {name: _restrict(values, mask) for name, values in labels.items()}
    if labels is None:
        return None
    values = np.ravel(labels)
    if len(values) != len(mask):
        raise ValueError(
            f"A user has {len(values)} targets and {len(mask)} values of a feature "
            f"`{ALIGNED_PREFIX}*`, which should have one for each target. "
            f"Mend the examples: `{features.TARGET_ENTITY}` and its slices are written together."
        )
    return values[mask]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
