"""What is settled for both rows of versions."""

from __future__ import annotations

import pytest

from transforms.stack import direct_in_python


@pytest.mark.parametrize("options", [(), ("--direct_num_workers=2",), ("--runner=DirectRunner",)])
def test_the_direct_runner_stays_in_python(options: tuple[str, ...]) -> None:
    assert direct_in_python(options) == (*options, "--allow_unsafe_triggers")


def test_other_runners_are_left_alone() -> None:
    options = ("--runner=FlinkRunner", "--parallelism=2")
    assert direct_in_python(options) == options


def test_scann_and_recommenders_import_beside_tensorflow() -> None:
    import scann
    import tensorflow
    import tensorflow_recommenders

    assert tensorflow.keras.Model.__module__.startswith("tf_keras")
    assert scann.scann_ops_pybind and tensorflow_recommenders.tasks.Retrieval
