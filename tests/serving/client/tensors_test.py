from __future__ import annotations

import numpy as np
import pytest

from serving.client.protos import TensorProto
from serving.client.tensors import fill_proto
from serving.client.tensors import from_proto
from serving.client.tensors import pad

NUMERIC = "f4 f8 f2 i1 i2 i4 i8 u1 u2 u4 u8 ?".split()


def encode(values, **kwargs):
    proto = TensorProto()
    fill_proto(proto, values, **kwargs)
    return proto


@pytest.mark.parametrize("as_fields", [False, True])
@pytest.mark.parametrize("dtype", NUMERIC)
def test_numbers_agree_with_tensorflow_both_ways(dtype, as_fields):
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    values = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    proto = encode(values, as_fields=as_fields)
    read = tf.make_ndarray(tensor_pb2.TensorProto.FromString(proto.SerializeToString()))
    np.testing.assert_array_equal(read, values)
    assert read.dtype == values.dtype
    written = TensorProto.FromString(tf.make_tensor_proto(values).SerializeToString())
    ours = from_proto(written)
    np.testing.assert_array_equal(ours, values)
    assert ours.dtype == values.dtype


def test_strings_agree_with_tensorflow_both_ways():
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    values = [["a", "bé"], ["", "movie:1"]]
    proto = encode(values)
    read = tf.make_ndarray(tensor_pb2.TensorProto.FromString(proto.SerializeToString()))
    assert read.tolist() == [[b"a", "bé".encode()], [b"", b"movie:1"]]
    written = TensorProto.FromString(tf.make_tensor_proto(read).SerializeToString())
    assert from_proto(written).tolist() == read.tolist()


@pytest.mark.parametrize("values", [np.float32(2.5), np.zeros((0, 3), np.int64), "one"])
def test_scalars_and_empty_tensors_come_back(values):
    back = from_proto(encode(values))
    assert back.shape == np.shape(values)


def test_lists_take_the_common_types():
    assert from_proto(encode([1.5, 2.0])).dtype == np.float32
    assert from_proto(encode([1, 2])).dtype == np.int64
    assert from_proto(encode(np.array([1.5]))).dtype == np.float64


def test_repeated_last_value_is_understood():
    proto = TensorProto(dtype=1, float_val=[1.0, 2.0])
    proto.tensor_shape.dim.add().size = 4
    np.testing.assert_array_equal(from_proto(proto), np.array([1, 2, 2, 2], np.float32))


def test_bfloat16_is_read_as_float32():
    import tensorflow as tf

    values = tf.cast([[1.5, -2.0]], tf.bfloat16)
    proto = TensorProto.FromString(tf.make_tensor_proto(values).SerializeToString())
    np.testing.assert_array_equal(from_proto(proto), np.array([[1.5, -2.0]], np.float32))


def test_few_bytes_cannot_claim_much_memory():
    proto = TensorProto(dtype=1, float_val=[1.0])
    proto.tensor_shape.dim.add().size = 1 << 40
    with pytest.raises(ValueError, match="Expected 1099511627776 values.*Received: 1"):
        from_proto(proto)


def test_content_of_another_size_is_refused():
    proto = TensorProto(dtype=1, tensor_content=b"\0" * 7)
    proto.tensor_shape.dim.add().size = 2
    with pytest.raises(ValueError, match="Expected 8 bytes.*Received: 7"):
        from_proto(proto)


def test_unknown_shapes_and_types_are_refused():
    proto = TensorProto(dtype=1)
    proto.tensor_shape.dim.add().size = -1
    with pytest.raises(ValueError, match="fully known shape"):
        from_proto(proto)
    with pytest.raises(ValueError, match="QINT8 are not supported"):
        from_proto(TensorProto(dtype=11))
    with pytest.raises(ValueError, match="dtype `complex64`"):
        encode(np.zeros(2, np.complex64))
    with pytest.raises(ValueError, match="elements of type NoneType"):
        encode(["a", None])


def test_pad_lays_rows_out():
    out = pad([1, 2, 3], np.array([2, 0, 1]), 0, np.int64)
    assert out.tolist() == [[1, 2], [0, 0], [3, 0]]


def test_pad_is_never_zero_wide():
    out = pad([], np.array([0, 0]), b"", object)
    assert out.tolist() == [[b""], [b""]]


@pytest.mark.parametrize("values", [[b"ab\0", b"\0\0", b""], [[b"a\0"], [b"b"]], b"c\0", "d\0"])
def test_trailing_nul_bytes_survive(values):
    proto = TensorProto()
    fill_proto(proto, values)
    expected = np.asarray(values, dtype=object)
    sent = from_proto(proto)
    assert sent.shape == expected.shape
    plain = [v if isinstance(v, bytes) else v.encode() for v in expected.ravel().tolist()]
    assert sent.ravel().tolist() == plain
