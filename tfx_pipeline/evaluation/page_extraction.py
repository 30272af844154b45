"""Turns page examples into TFMA's extracts; called by TFX's Evaluator.

An extract is a user: the candidates of all their pages that a slice has. TFMA counts,
groups and resamples extracts, so the Poisson bootstrap draws users with all of their pages.
Drawing pages would take the pages of a user for independent, which share a taste, and give
confidence intervals that are too narrow; and GAUC is a mean over users.

Pages stay in batches, as columns, until their users are known; nothing here is done for
each candidate in Python.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from tfx_pipeline.evaluation.click_rates import ClickRates
from tfx_pipeline.evaluation.config import SLICE_POSITION
from tfx_pipeline.evaluation.metrics.clicks import CANDIDATES
from tfx_pipeline.evaluation.metrics.clicks import CLICK_RATES
from tfx_pipeline.evaluation.metrics.clicks import LABEL
from tfx_pipeline.evaluation.metrics.clicks import PAGE
from tfx_pipeline.evaluation.metrics.clicks import scores_of
from transforms import features as f
from transforms.arrow import pa
from transforms.arrow import pc

LEFT_OUT = -1  # the label beyond a page's candidates
OF_CANDIDATES = "slice/candidate_"  # slices with as many values as the page has candidates
POSITIONS = {0: b"0", 1: b"1-3", 4: b"4-9", 10: b"10+"}  # by the first position; from 0
_SLICE_STAGE = tfma.extractors.SLICE_KEY_EXTRACTOR_STAGE_NAME

Columns = dict[str, np.ndarray]
SliceKey = tuple[tuple[str, str], ...]


def custom_extractors(
    eval_shared_model: Any, eval_config: config_pb2.EvalConfig, tensor_adapter_config: Any = None
) -> list[Any]:
    """Returns the extractors of an evaluation on page examples.

    Args:
        eval_shared_model: The model or models under evaluation.
        eval_config: The configuration of the evaluation.
        tensor_adapter_config: Not needed; TFX gives it.

    Returns:
        Extractors, the last of which gives the slice keys.
    """
    del tensor_adapter_config
    slices = [tuple(sorted(spec.feature_keys)) for spec in eval_config.slicing_specs]
    metrics = [json.loads(one.config) for spec in eval_config.metrics_specs for one in spec.metrics]
    heads = {one["bit"]: one["head"] for one in metrics if "bit" in one}
    outputs = [heads[bit] for bit in sorted(heads)]
    click_rates = next((one["click_rates"] for one in metrics if "click_rates" in one), "")
    models = eval_config.model_specs
    names = {spec.name if len(models) > 1 else "": spec.is_baseline for spec in models}
    predict = tfma.extractors.PredictionsExtractor(
        eval_config=eval_config, eval_shared_model=eval_shared_model
    )
    read = {name for keys in slices for name in keys}
    return [
        tfma.extractors.Extractor("ReadPages", _ReadPages(frozenset(read), click_rates)),
        predict,
        tfma.extractors.Extractor(_SLICE_STAGE, _UsersInSlices(slices, names, outputs)),
    ]


class _ReadPages(beam.PTransform):
    """Reads what metrics and slices need out of batches of page examples."""

    def __init__(self, slices: frozenset[str], click_rates: str) -> None:
        super().__init__()
        self._slices, self._click_rates = slices, click_rates

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        return extracts | beam.Map(read_pages, self._slices, self._click_rates)


class _UsersInSlices(beam.PTransform):
    """Makes an extract of each user and each set of candidates that a slice has."""

    def __init__(
        self, slices: Sequence[Sequence[str]], models: Mapping[str, bool], outputs: Sequence[str]
    ) -> None:
        super().__init__()
        self._slices, self._models, self._outputs = slices, models, outputs

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        return (
            extracts
            | "DivideByUser" >> beam.FlatMap(candidates_by_user, self._models, self._outputs)
            | "GroupByUser" >> beam.GroupByKey()
            | "JoinPages" >> beam.MapTuple(lambda _, parts: join_pages(parts))
            | "Slice" >> beam.FlatMap(slice_candidates, self._slices)
        )


def read_pages(
    extracts: Mapping[str, Any], slices: Iterable[str], click_rates: str = ""
) -> dict[str, Any]:
    """Reads a batch of B page examples, the longest of C candidates.

    Args:
        extracts: TFMA's extracts with the record batch of the raw examples.
        slices: Names of the slices that are read.
        click_rates: What `write_click_rates` wrote; empty to leave popularity out.

    Returns:
        Extracts with the serialised examples and these features: `user_id` [B]; `label`
        [B, C] int64, `LEFT_OUT` beyond the candidates; `click_rates` [B, C, H] float32; of
        each slice [B] or, if candidates have it, [B, C] bytes, empty where there is none.

    Raises:
        ValueError: A feature has not one value for each page, or for each candidate.
    """
    batch: pa.RecordBatch = extracts[tfma.ARROW_RECORD_BATCH_KEY]
    lengths, label = _feature(batch, f.LABEL_EVENTS)
    there = np.arange(lengths.max(initial=0)) < lengths[:, None]  # [B, C]

    def of_candidates(name: str, values: np.ndarray, fill: Any = b"") -> np.ndarray:
        if len(values) != there.sum():
            raise ValueError(
                f"Expected a value of `{name}` for each of the {there.sum()} candidates of "
                f"{len(there)} pages, as of `{f.LABEL_EVENTS}`; received {len(values)}. "
                "Run the example generator again."
            )
        padded = np.full((*there.shape, *values.shape[1:]), fill, values.dtype)
        padded[there] = values
        return padded

    users = _feature(batch, f.USER_ID)[1]
    read: Columns = {
        f.USER_ID: _of_page(f.USER_ID, np.ones(batch.num_rows, np.int64), _bytes(users)),
        LABEL: of_candidates(f.LABEL_EVENTS, label.to_numpy(zero_copy_only=False), LEFT_OUT),
    }
    if click_rates:
        rates = _rates(click_rates).look_up(_feature(batch, f.CANDIDATE_ENTITY)[1])
        read[CLICK_RATES] = of_candidates(f.CANDIDATE_ENTITY, rates, 0.0)
    for name in sorted(slices):
        if name == SLICE_POSITION:
            values = _positions(_feature(batch, f.CANDIDATE_POSITION)[1])
            read[name] = of_candidates(f.CANDIDATE_POSITION, values)
        elif name.startswith(OF_CANDIDATES):
            read[name] = of_candidates(name, _bytes(_feature(batch, name)[1]))
        else:
            lengths, values = _feature(batch, name)
            read[name] = _of_page(name, lengths, _bytes(values))
    serialised = np.asarray(batch.column(tfma.ARROW_INPUT_COLUMN).flatten())
    return {tfma.INPUT_KEY: serialised, tfma.FEATURES_KEY: read}


def candidates_by_user(
    extracts: Mapping[str, Any], models: Mapping[str, bool], outputs: Sequence[str]
) -> Iterator[tuple[bytes, Columns]]:
    """Divides a batch of pages among their users.

    Args:
        extracts: What `read_pages` returned, with predictions.
        models: Names of the models under evaluation, and whether each is the baseline.
        outputs: The outputs of the heads, the first head first.

    Yields:
        A user, and columns of the n candidates of their pages: `page`, `label`, each
        slice, the scores of each model and the click rates.

    Raises:
        ValueError: A model has not the outputs of a ranking model.
    """
    read = extracts[tfma.FEATURES_KEY]
    at = np.nonzero(read[LABEL] != LEFT_OUT)  # pages [n], columns [n]
    ids, user_of = np.unique(read[f.USER_ID], return_inverse=True)
    order = np.argsort(user_of[at[0]], kind="stable")
    at = (at[0][order], at[1][order])
    columns = {PAGE: at[0]}
    for name, values in read.items():
        if name != f.USER_ID:
            columns[name] = values[at[0]] if values.ndim == 1 else values[at]
    for name, is_baseline in models.items():
        predictions = extracts[tfma.PREDICTIONS_KEY]
        predictions = predictions[name] if len(models) > 1 else predictions
        columns[scores_of(name)] = _scores(predictions, at, outputs, is_baseline)
    ends = np.cumsum(np.bincount(user_of[at[0]], minlength=len(ids)))
    for user, start, end in zip(ids.tolist(), [0, *ends[:-1]], ends, strict=True):
        if start < end:
            yield user, {name: values[start:end] for name, values in columns.items()}


def join_pages(parts: Iterable[Columns]) -> Columns:
    """Joins columns of one user's pages; pages of different parts stay different."""
    parts, first = list(parts), 0
    for index, part in enumerate(parts):
        parts[index] = {**part, PAGE: part[PAGE] + first}
        first += int(part[PAGE][-1]) + 1
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def slice_candidates(columns: Columns, slices: Sequence[Sequence[str]]) -> Iterator[dict[str, Any]]:
    """Yields the extracts of one user.

    Args:
        columns: Columns of the n candidates of a user.
        slices: Features by whose values candidates are grouped; none is all candidates.

    Yields:
        Slice keys, and the columns of the candidates that they have below `CANDIDATES`.
    """
    whole: list[SliceKey] = []
    used = {name for names in slices for name in names}
    kept = {name: values for name, values in columns.items() if name not in used}
    number = columns[LABEL].size
    for names in slices:
        group = np.zeros(number, np.int64)
        keys: list[SliceKey] = [()]
        for name in names:
            values, code = np.unique(columns[name], return_inverse=True)
            pairs = [(name, value.decode()) for value in values.tolist()]
            keys = [(*key, pair) for key in keys for pair in pairs]
            group = group * len(pairs) + code
        for index in np.unique(group):
            if not all(value for _, value in keys[index]):
                continue  # candidates without a value are in no slice
            there = group == index
            if there.all():
                whole.append(keys[index])
            else:
                yield _extract([keys[index]], {name: kept[name][there] for name in kept})
    if whole:
        yield _extract(whole, kept)


def _extract(keys: Sequence[SliceKey], columns: Columns) -> dict[str, Any]:
    """Returns the extracts of n candidates, with their pages numbered from 0."""
    page = columns[PAGE]
    numbered = np.cumsum(np.append(False, page[1:] != page[:-1]))
    return {
        tfma.SLICE_KEY_TYPES_KEY: np.fromiter(keys, object, len(keys)),
        CANDIDATES: {**columns, PAGE: numbered},
    }


def _scores(
    predictions: Any, at: tuple[np.ndarray, np.ndarray], outputs: Sequence[str], is_baseline: bool
) -> np.ndarray:
    """Returns [n, H] float32, the scores of a model at [n] candidates."""
    if not isinstance(predictions, Mapping):
        predictions = {outputs[0]: predictions}  # TFMA drops the name of an only output
    missing = [name for name in outputs if name not in predictions]
    if missing and not is_baseline or any(np.ndim(one) != 2 for one in predictions.values()):
        found = {name: np.shape(values) for name, values in predictions.items()}
        raise ValueError(
            f"A ranking model of these heads answers with {list(outputs)}, [B, C] each; this one "
            f"answered with {found}. Evaluate the signature `serving_default` of a ranker that "
            "was trained with this `label`."
        )
    none = np.full(at[0].shape, np.nan, np.float32)  # the served model may lack a new head
    columns = [predictions[name][at] if name in predictions else none for name in outputs]
    return np.stack(columns, axis=1).astype(np.float32)


def _feature(batch: pa.RecordBatch, name: str) -> tuple[np.ndarray, pa.Array]:
    """Returns how many values of a feature each of [B] examples has, and the values, [n]."""
    column = batch.column(name) if name in batch.schema.names else None
    if column is None or pa.types.is_null(column.type):
        return np.zeros(batch.num_rows, np.int64), pa.array([], pa.binary())
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    return lengths.to_numpy(zero_copy_only=False), column.flatten()


def _of_page(name: str, lengths: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns [B] bytes, the value of each page; empty where it has none."""
    if lengths.max(initial=0) > 1 or lengths.sum() != len(values):
        raise ValueError(
            f"Expected at most one value of `{name}` for each page; received {len(values)} for "
            f"{len(lengths)} pages. Slices of candidates are named `{OF_CANDIDATES}*`."
        )
    found = np.zeros(len(lengths), values.dtype)
    found[lengths > 0] = values
    return found


def _bytes(values: pa.Array) -> np.ndarray:
    """Returns [n] fixed-length bytes."""
    if not len(values):
        return np.zeros(0, "S1")
    return values.cast(pa.binary()).to_numpy(zero_copy_only=False).astype(np.bytes_)


def _positions(values: pa.Array) -> np.ndarray:
    """Returns [n] bytes, the ranges of positions; empty where there is no position."""
    first, names = np.array(list(POSITIONS)), np.array([b"", *POSITIONS.values()])
    return names[np.searchsorted(first, values.to_numpy(zero_copy_only=False), side="right")]


@lru_cache(maxsize=2)
def _rates(path: str) -> ClickRates:
    return ClickRates(path)
