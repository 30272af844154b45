"""The wire format against an independent parser and an independent encoder."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from tfx_bsl.coders import example_coder

from tests.tfx_pipeline.components.timeline_example_gen.logs import decode
from tfx_pipeline.examples.encode import Feature
from tfx_pipeline.examples.encode import bytes_stream
from tfx_pipeline.examples.encode import dictionary_stream
from tfx_pipeline.examples.encode import encode_examples
from tfx_pipeline.examples.encode import float_stream
from tfx_pipeline.examples.encode import int_stream
from tfx_pipeline.examples.encode import varints


def test_varints_are_those_of_the_specification() -> None:
    data, offsets = varints(np.array([0, 1, 127, 128, 150, -1]))
    pieces = [data[a:b].tobytes() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
    assert pieces == [b"\x00", b"\x01", b"\x7f", b"\x80\x01", b"\x96\x01", b"\xff" * 9 + b"\x01"]


def test_an_example_is_byte_for_byte_what_the_specification_says() -> None:
    one = np.array([0]), np.array([1])
    encoded = encode_examples(
        [
            Feature("b", bytes_stream(pa.array([b"hi"])), *one),
            Feature("a", int_stream(np.array([3, 300])), np.array([0]), np.array([2])),
        ]
    )
    a = b"\x0a\x01a" + b"\x12\x07" + b"\x1a\x05" + b"\x0a\x03" + b"\x03\xac\x02"
    b = b"\x0a\x01b" + b"\x12\x06" + b"\x0a\x04" + b"\x0a\x02hi"
    features = b"\x0a" + bytes([len(a)]) + a + b"\x0a" + bytes([len(b)]) + b
    assert encoded.to_pylist() == [b"\x0a" + bytes([len(features)]) + features]


@pytest.mark.parametrize("layout", ["contiguous", "gaps", "overlapping", "empty"])
def test_a_parser_finds_every_value_again(layout: str) -> None:
    generator = np.random.default_rng(0)
    lengths = generator.integers(0, 300, 40)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    if layout == "gaps":
        ends = np.maximum(starts, ends - 3)
    elif layout == "overlapping":
        starts = np.maximum(0, starts - 5)
    elif layout == "empty":
        starts, ends = starts[:0], ends[:0]
    count = int(lengths.sum())
    words = [f"word {i}".encode() * (i % 30) for i in range(100)]
    codes = generator.integers(-1, 100, count)
    integers = generator.integers(-(2**62), 2**62, count) >> generator.integers(0, 62, count)
    numbers = generator.random(count).astype(np.float32)
    values = {
        "x/words": ["" if c < 0 else words[c].decode() for c in codes],
        "integers": integers.tolist(),
        "a_float": numbers.tolist(),
    }
    streams = {
        "x/words": dictionary_stream(codes, pa.array(words)),
        "integers": int_stream(integers),
        "a_float": float_stream(numbers),
    }
    encoded = encode_examples(Feature(n, s, starts, ends) for n, s in streams.items())
    expected = [
        {name: value[a:b] for name, value in values.items()}
        for a, b in zip(starts, ends, strict=True)
    ]
    assert decode(encoded.to_pylist()) == expected


def test_an_absent_feature_differs_from_an_empty_one() -> None:
    stream, at = int_stream(np.array([1, 2, 3])), np.arange(3)
    present = np.array([True, False, True])
    encoded = encode_examples(
        [
            Feature("always", stream, at, at + 1),
            Feature("empty", stream, at, at),
            Feature("sometimes", stream, at, at + 1, present),
        ]
    )
    assert decode(encoded.to_pylist()) == [
        {"always": [1], "empty": [], "sometimes": [1]},
        {"always": [2], "empty": []},
        {"always": [3], "empty": [], "sometimes": [3]},
    ]


def test_the_library_reads_the_same_out_of_its_own_encoding() -> None:
    at = np.arange(4)
    texts, numbers = [b"a", b"", b"ccc", b"\xff"], [1.5, -2.0, 0.0, 1e30]
    ours = encode_examples(
        [
            Feature("t", bytes_stream(pa.array(texts)), at, at + 1),
            Feature("n", float_stream(np.array(numbers)), at, at + 1),
        ]
    )
    batch = pa.record_batch(
        [
            pa.array([[t] for t in texts]),
            pa.array([[n] for n in numbers], pa.list_(pa.float32())),
        ],
        names=["t", "n"],
    )
    theirs = example_coder.RecordBatchToExamplesEncoder().encode(batch)
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    assert decoder.DecodeBatch(ours.to_pylist()).equals(decoder.DecodeBatch(theirs))
    assert sorted(map(len, ours.to_pylist())) == sorted(map(len, theirs))
