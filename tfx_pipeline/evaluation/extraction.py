"""What TFX's Evaluator calls to turn examples into TFMA's extracts.

Two things differ from TFMA's defaults. Features that nobody reads are dropped
before batches are taken apart, for timelines have many long ones. And slices
that describe targets (`slice/target_*` is aligned with `target/entity`) hold
just these targets: of a user with a popular and a rare target, the slice
"tail" sees the rare one alone, where TFMA would put both into both slices.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma

from transforms import features

ALIGNED_PREFIX = "slice/target_"
_SLICE_STAGE = tfma.extractors.SLICE_KEY_EXTRACTOR_STAGE_NAME

SliceKey = tuple[tuple[str, Any], ...]


def custom_extractors(
    eval_shared_model: Any, eval_config: tfma.EvalConfig, tensor_adapter_config: Any = None
) -> list[Any]:
    """Returns TFMA's default extractors with the two changes above.

    Args:
        eval_shared_model: The model or models under evaluation.
        eval_config: The configuration of the evaluation.
        tensor_adapter_config: How record batches become tensors; None to infer it.

    Returns:
        Extractors, the last of which gives the slice keys.
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
    read |= labels | {features.EVENT_ENTITY, features.EVENT_TYPE}
    return [
        *before,
        tfma.extractors.Extractor(
            unbatch.stage_name, _KeepFeatures(frozenset(read)) | unbatch.ptransform
        ),
        tfma.extractors.Extractor(_SLICE_STAGE, slicing.ptransform | _DivideTargets()),
    ]


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
