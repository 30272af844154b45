"""TFRecord files against Beam's own reader."""

from __future__ import annotations

import gzip
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.testing.util import assert_that
from apache_beam.testing.util import equal_to

from tests.helpers.direct import direct
from tfx_pipeline.examples import tfrecord


def test_beam_reads_the_records_and_accepts_the_checksums(tmp_path: Path) -> None:
    records = [b"", b"one", b"\x00" * 1_000, bytes(range(256)) * 300]
    (tmp_path / tfrecord.STAGING).mkdir()
    (tmp_path / "Split-train").mkdir()
    batches = [pa.array(part, pa.large_binary()) for part in (records[:3], records[3:])]
    data = tfrecord.compress_records(batches, level=1)
    name = tfrecord.shard_name("train", 3, 12)
    assert name == "Split-train/data_tfrecord-00003-of-00012.gz"
    tfrecord.write_file(str(tmp_path), name, data)
    assert not list((tmp_path / tfrecord.STAGING).iterdir())
    with direct() as pipeline:
        read = pipeline | beam.io.ReadFromTFRecord(str(tmp_path / name))
        assert_that(read, equal_to(records))


def test_no_record_is_an_empty_file_and_no_time_is_in_the_header() -> None:
    data = b"".join(tfrecord.compress_records([pa.array([], pa.large_binary())], level=1))
    assert gzip.decompress(data) == b""
    assert data[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
