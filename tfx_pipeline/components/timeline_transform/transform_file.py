"""Applies a transform graph to files of serialised examples, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from tfx_pipeline.examples import tfrecord
from tfx_pipeline.examples.encode import Feature
from tfx_pipeline.examples.encode import Stream
from tfx_pipeline.examples.encode import bytes_stream
from tfx_pipeline.examples.encode import encode_examples
from tfx_pipeline.examples.encode import float_stream
from tfx_pipeline.examples.encode import int_stream
from transforms.arrow import pa

Job = tuple[str, str, str]  # a raw file, where the artifact is, the file's name below it

_BATCH_BYTES = 4 << 20  # of serialised examples: some 100,000 events
_EXAMPLES = 32  # that are read at once, of any length
_COMPRESSION_LEVEL = 1


class TransformFile(beam.DoFn):
    """Writes the transformed examples of one raw file.

    Args:
        graph: Directory of the transform graph.
    """

    def __init__(self, graph: str) -> None:
        self._graph = graph

    def setup(self) -> None:
        """Loads the graph once a worker."""
        output = tft.TFTransformOutput(self._graph)
        self._spec = output.transformed_feature_spec()
        raw, layer = output.raw_feature_spec(), output.transform_features_layer()

        def transform(serialised: tf.Tensor) -> dict[str, tf.RaggedTensor]:
            return layer(tf.io.parse_example(serialised, raw))

        self._layer = layer  # holds the tables
        signature = [tf.TensorSpec([None], tf.string)]
        self._transform = tf.function(transform, input_signature=signature, autograph=False)

    def process(self, job: Job) -> list[str]:
        """Reads, transforms and writes a file, whole or not at all, and returns its name."""
        path, uri, name = job
        records = (encode(self._transform(batch), self._spec) for batch in bounded_batches(path))
        parts = tfrecord.compress_records(records, _COMPRESSION_LEVEL)
        tfrecord.write_file(uri, name, parts)
        return [name]


def bounded_batches(path: str, batch_bytes: int = _BATCH_BYTES) -> Iterator[tf.Tensor]:
    """Reads a gzipped TFRecord file in batches of like size, whatever the examples' lengths.

    Args:
        path: The file.
        batch_bytes: A batch is complete when it has so many bytes; it has more by at most
            `_EXAMPLES` examples.

    Yields:
        Serialised examples, [B] string, in the order of the file.
    """
    read = tf.data.TFRecordDataset(path, "GZIP").batch(_EXAMPLES)
    measured = read.map(lambda records: (records, tf.reduce_sum(tf.strings.length(records))))
    held: list[tf.Tensor] = []
    size = 0
    for records, length in measured.prefetch(2):
        held.append(records)
        size += int(length)
        if size >= batch_bytes:
            yield tf.concat(held, axis=0)
            held, size = [], 0
    if held:
        yield tf.concat(held, axis=0)


def encode(
    tensors: Mapping[str, tf.RaggedTensor], spec: Mapping[str, tf.io.RaggedFeature]
) -> pa.LargeBinaryArray:
    """Serialises a batch of transformed features.

    Args:
        tensors: By feature, [B, (values)] or with more ragged dimensions.
        spec: How they are to be parsed (`TFTransformOutput.transformed_feature_spec`).

    Returns:
        [B] serialised examples.

    Raises:
        TypeError: A feature is not ragged.
    """
    features = (one for name in spec for one in _features(name, tensors[name], spec[name]))
    return encode_examples(features)


def _features(name: str, values: tf.RaggedTensor, spec: tf.io.RaggedFeature) -> Iterable[Feature]:
    """Yields the values of a feature and, for inner dimensions, the lengths of their rows."""
    if not isinstance(spec, tf.io.RaggedFeature):
        raise TypeError(
            f"Expected ragged features of `preprocessing_fn`; `{name}` is parsed by {spec}. "
            "Return a tf.RaggedTensor with one row an example."
        )
    outer, *inner = (splits.numpy() for splits in values.nested_row_splits)
    for partition, splits in zip(spec.partitions, inner, strict=True):
        yield Feature(partition.key, int_stream(np.diff(splits)), outer[:-1], outer[1:])
        outer = splits[outer]
    yield Feature(spec.value_key or name, _stream(values.flat_values), outer[:-1], outer[1:])


def _stream(values: tf.Tensor) -> Stream:
    if values.dtype == tf.string:
        return bytes_stream(pa.array(values.numpy(), pa.large_binary()))
    return (float_stream if values.dtype.is_floating else int_stream)(values.numpy())
