"""Requests are made of many users, one without history among them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from tests.helpers.examples import example
from tfx_pipeline.components.request_examples import request_examples
from transforms import features as f


def page(user: str, number: int, history: int = 1) -> bytes:
    return example(
        **{f.USER_ID: user, f.REQUEST_TIME: number, f.EVENT_ENTITY: ["item:1"] * history}
    )


ANN = [page("ann", number) for number in range(5)]
BOB = [page("bob", number) for number in range(3)]
CEM = [page("cem", 0), page("cem", 1, history=0)]


@pytest.mark.parametrize(
    ("records", "count", "expected"),
    [
        (ANN + BOB, 2, [ANN[0], BOB[0]]),
        (ANN + BOB, 4, [ANN[0], BOB[0], ANN[1], ANN[2]]),
        (ANN + BOB + CEM, 2, [ANN[0], CEM[1]]),
        (ANN + BOB + CEM, 1, [ANN[0]]),
        (CEM[1:] + ANN, 2, [CEM[1], ANN[0]]),
        (ANN[:1], 3, ANN[:1]),
        (ANN, 0, []),
    ],
)
def test_users_come_before_further_pages_of_one(
    tmp_path: Path, records: list[bytes], count: int, expected: list[bytes]
) -> None:
    file = str(tmp_path / "records")
    with tf.io.TFRecordWriter(file) as writer:
        for record in records:
            writer.write(record)
    assert request_examples([file], count) == expected
