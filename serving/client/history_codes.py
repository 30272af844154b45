"""Histories as codes, a few bytes an event, for the servable that tells what they mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.history_codes import HistoryLayout

Inputs = dict[str, npt.NDArray[Any]]
_SERVABLE = "servable.json"


class HistoryCodes:
    """Turns requests of `rank` into those of `rank_codes`, which say the same in fewer bytes.

    An event is a record (`transforms.history_codes`) of indices and buckets. Only the newest
    events that the model reads are sent; those of items that it does not know are left out, as
    it leaves them out. A codes' version names layout and vocabularies, so that servables of
    one version read the same codes.

    Args:
        layout: The record.
        entities: Content of the vocabulary of entities, a line each.
        event_types: Likewise of event types.

    Attributes:
        version: Name of the codes.
    """

    def __init__(self, layout: HistoryLayout, entities: bytes, event_types: bytes) -> None:
        self.version = layout.version(entities, event_types)
        self._layout = layout
        self._items = _index(entities)
        self._types = _index(event_types)

    @classmethod
    def read(cls, servable: str | Path) -> HistoryCodes:
        """Reads the codes of a servable.

        Args:
            servable: A pushed version of a ranker, `<push_dir>/ranking/<version>`.

        Raises:
            FileNotFoundError: There is no `servable.json`.
            ValueError: The servable reads no codes, or its files do not belong together.
        """
        folder = Path(servable)
        said = json.loads((folder / _SERVABLE).read_text(encoding="utf-8")).get("history_codes")
        if said is None:
            raise ValueError(
                f"{folder} reads no codes: export a ranker with `history_codes: true` in the "
                "section `ranking.trainer.model`."
            )
        layout = HistoryLayout(**said["layout"] | {"ages": tuple(said["layout"]["ages"])})
        codes = cls(layout, *((folder / name).read_bytes() for name in said["vocabularies"]))
        if codes.version != said["version"]:
            raise ValueError(
                f"Expected codes of version `{said['version']}` in {folder}. Received: "
                f"vocabularies of version `{codes.version}`. Copy the whole version again."
            )
        return codes

    def encode(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Inputs:
        """Replaces histories by their codes.

        Args:
            inputs: Those of `rank` (`serving.client.ranking.rank_inputs`), B rows.

        Returns:
            Those of `rank_codes`: `history_codes` and `history_version` [B] bytes,
            `history_queries` as they were, or empty ones where the model reads none, and what
            is not of the history.

        Raises:
            ValueError: A history has more than 65,536 distinct queries.
        """
        row, item, place = self._newest(inputs)
        records = np.zeros(len(row), self._layout.record)
        kinds = inputs["history_events"][row, place].tolist()
        records["item"], records["type"] = item, _look_up(self._types, kinds)
        rows = len(inputs["request_time"])
        ends = np.cumsum(np.bincount(row, minlength=rows))
        if self._layout.ages:
            times = inputs["history_timestamps"][row, place]
            records["age"] = self._age_buckets(times, row, ends, inputs["request_time"])
        if self._layout.values:
            values = np.rint(inputs["history_values"][row, place])
            records["value"] = np.clip(values, 0, self._layout.values - 1)
        queries = inputs["history_queries"]
        if not self._layout.queries:
            queries = np.full((rows, 1), b"", object)
        elif queries.shape[1] > 1 << 16:
            raise ValueError(
                "Expected a history of at most 65,535 distinct queries. Received: "
                f"{queries.shape[1] - 1:,}. Send its newest events alone."
            )
        else:
            records["query"] = inputs["history_query_index"][row, place]
        starts = np.concatenate([[0], ends[:-1]])
        packed = [records[s:e].tobytes() for s, e in zip(starts, ends, strict=True)]
        kept = {name: v for name, v in inputs.items() if not name.startswith("history_")}
        return kept | {
            "history_codes": np.array(packed, object),
            "history_version": np.full(rows, self.version.encode(), object),
            "history_queries": queries,
        }

    def _newest(self, inputs: Mapping[str, npt.NDArray[Any]]) -> tuple[npt.NDArray[np.int64], ...]:
        """Returns row, item and place of the newest events of known items, a row's together."""
        ids = inputs["history_ids"]
        row, place = np.nonzero(np.arange(ids.shape[1]) < inputs["history_length"][:, None])
        item = _look_up(self._items, ids[row, place].tolist())
        known = item > 0
        row, item, place = row[known], item[known], place[known]
        later = np.cumsum(np.bincount(row, minlength=len(ids)))[row] - np.arange(len(row))
        newest = later <= self._layout.window
        return row[newest], item[newest], place[newest]

    def _age_buckets(
        self,
        times: npt.NDArray[np.int64],
        row: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        request_time: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        """Buckets ages, which count from the request or, at an unknown time, the newest event."""
        newest = times[ends[row] - 1] if len(times) else times
        now = np.where(request_time[row] > 0, request_time[row], newest)
        return np.searchsorted(np.array(self._layout.ages), np.maximum(now - times, 0), "right")


def _index(vocabulary: bytes) -> dict[bytes, int]:
    """Returns the index of each line; 0 is unknown."""
    return {line: number for number, line in enumerate(vocabulary.split(b"\n")[:-1], 1)}


def _look_up(index: Mapping[bytes, int], values: list[bytes]) -> npt.NDArray[np.int64]:
    return np.fromiter(map(index.get, values, repeat(0)), np.int64, len(values))
