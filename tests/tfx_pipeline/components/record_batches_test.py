"""Batches that TFXIO reads are bounded by bytes."""

from __future__ import annotations

import apache_beam as beam
import pytest
import tensorflow as tf
from absl import flags
from apache_beam.testing.util import assert_that
from tfx_bsl.public import tfxio

from tests.helpers.direct import direct
from tfx_pipeline.components.record_batches import bound_batches

MEBI = 1 << 20


def _examples(lengths):
    """Serialised examples of so many bytes each."""
    for length in lengths:
        example = tf.train.Example()
        example.features.feature["event/entity"].bytes_list.value.append(b"x" * length)
        yield example.SerializeToString()


@pytest.fixture
def flag():
    yield
    flags.FLAGS.set_default("tfxio_use_byte_size_batching", False)


def _rows_of_batches(path, expected):
    with direct() as pipeline:
        source = tfxio.TFExampleRecord(str(path), telemetry_descriptors=["test"])
        rows = pipeline | source.BeamSource() | beam.Map(lambda batch: batch.num_rows)
        assert_that(rows, expected)


def test_long_timelines_do_not_meet_in_memory(tmp_path, flag):
    bound_batches()
    with tf.io.TFRecordWriter(str(tmp_path / "long")) as writer:
        for one in _examples([3 * MEBI] * 16):
            writer.write(one)

    def at_most_six(rows):  # of 3 MiB and some bytes, in 20 MiB
        assert sorted(rows) == [4, 6, 6]

    _rows_of_batches(tmp_path / "long", at_most_six)


def test_an_example_above_the_bound_comes_alone_and_short_ones_together(tmp_path, flag):
    bound_batches()
    with tf.io.TFRecordWriter(str(tmp_path / "mixed")) as writer:
        for one in _examples([10] * 2_000 + [21 * MEBI] + [10]):
            writer.write(one)

    def as_they_come(rows):
        assert sorted(rows) == [1, 1, 2_000]

    _rows_of_batches(tmp_path / "mixed", as_they_come)
