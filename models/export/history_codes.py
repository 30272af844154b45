"""Histories as codes: what a servable says of them, and how its graph reads them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

import tensorflow as tf

from models.export.requests import words_of_events
from models.input.vocabulary_sizes import VocabularySizes
from models.input.windows import WindowSpec
from models.layers.buckets import VALUE_BUCKETS
from models.layers.buckets import age_bucket_starts
from transforms import features as f
from transforms import names
from transforms.history_codes import HistoryLayout

if TYPE_CHECKING:
    import tensorflow_transform as tft

CODED_INPUTS = (
    tf.TensorSpec([None], tf.string, name="history_codes"),
    tf.TensorSpec([None], tf.string, name="history_version"),
    tf.TensorSpec([None, None], tf.string, name="history_queries"),
)
_SECOND = 1_000_000  # microseconds


@dataclasses.dataclass(frozen=True)
class HistoryCodes:
    """The codes that a servable reads.

    Attributes:
        layout: The record of an event.
        version: Name of the codes.
        vocabularies: Files of the servable, of entities and of event types.
    """

    layout: HistoryLayout
    version: str
    vocabularies: tuple[str, ...]

    @classmethod
    def of(
        cls, windows: WindowSpec, sizes: VocabularySizes, transform: tft.TFTransformOutput
    ) -> HistoryCodes:
        """Decides on the codes of what a model reads.

        Args:
            windows: What it reads of a history.
            sizes: Sizes of the vocabularies.
            transform: What Transform wrote.
        """
        layout = HistoryLayout(
            entities=sizes.entity,
            event_types=sizes.event_type,
            window=windows.window,
            ages=age_bucket_starts() if windows.use_time else (),
            values=VALUE_BUCKETS if windows.use_value else 0,
            queries=windows.event_query_tokens > 0,
        )
        files = [transform.vocabulary_file_by_name(n) for n in (names.ENTITY, names.EVENT_TYPE)]
        version = layout.version(*(tf.io.gfile.GFile(file, "rb").read() for file in files))
        return cls(layout, version, tuple(f"assets/{os.path.basename(file)}" for file in files))

    def describe(self) -> dict[str, Any]:
        """Returns what `servable.json` says of the codes."""
        return dataclasses.asdict(self)

    def events(
        self, inputs: Mapping[str, tf.Tensor], query_words: tf.RaggedTensor | None
    ) -> dict[str, tf.RaggedTensor]:
        """Reads histories.

        Args:
            inputs: `CODED_INPUTS` and `request_time`, B rows.
            query_words: [B, (Q), (words)] int64, of the queries of each history; where the model
                reads queries.

        Returns:
            Transformed features of events, each [B, (events)]. Codes of another version, or cut
            short, fail the request.
        """
        codes, record = inputs["history_codes"], self.layout.record
        length = tf.cast(tf.strings.length(codes), tf.int64)  # bytes
        given = inputs["history_version"]
        checks = [
            tf.debugging.Assert(
                tf.reduce_all(tf.equal(given, self.version)),
                [f"Expected history codes of version `{self.version}`. Received:", given],
            ),
            tf.debugging.Assert(
                tf.reduce_all(tf.equal(length % record.itemsize, 0)),
                [f"Expected history codes of {record.itemsize} bytes an event."],
            ),
        ]
        with tf.control_dependencies(checks):
            joined = tf.io.decode_raw(tf.strings.reduce_join(codes), tf.uint8)
        table = tf.cast(tf.reshape(joined, [-1, record.itemsize]), tf.int64)  # [N, bytes]

        def field(name: str) -> tf.RaggedTensor:
            assert record.fields  # has names
            kind, start = record.fields[name][:2]
            scale = tf.constant([1 << 8 * place for place in range(kind.itemsize)], tf.int64)
            values = tf.reduce_sum(table[:, start : start + kind.itemsize] * scale, axis=1)
            return tf.RaggedTensor.from_row_lengths(values, length // record.itemsize)

        found = {f.EVENT_ENTITY: field("item"), f.EVENT_TYPE: field("type")}
        if self.layout.ages:
            # Any age of a bucket stands for it; so do times that lie so long before the request.
            age = field("age")
            begin = tf.bitwise.left_shift(tf.ones_like(age.values), age.values) - 1  # seconds
            now = tf.gather(inputs["request_time"], age.value_rowids())
            found[f.EVENT_TIMESTAMP] = age.with_values(now - _SECOND * begin)
        if self.layout.values:
            value = field("value")
            found[f.EVENT_VALUE] = value.with_values(tf.cast(value.values, tf.float32))
        if query_words is not None:
            found[names.EVENT_QUERY_TOKENS] = words_of_events(query_words, field("query"))
        return found
