"""Keras 2, chosen before anything imports TensorFlow."""

from __future__ import annotations

import os
import sys


def use_keras_2() -> None:
    """Makes `tf.keras` mean Keras 2, which TensorFlow Recommenders needs.

    TensorFlow reads the choice from the environment when it is first imported.

    Raises:
        ImportError: TensorFlow was imported before this package, with Keras 3.
    """
    chosen = os.environ.get("TF_USE_LEGACY_KERAS")
    if chosen is None and "tensorflow" in sys.modules:
        raise ImportError(
            "TensorFlow was imported with Keras 3, and TensorFlow Recommenders needs Keras 2. "
            "Import vitrine's packages before `tensorflow`, or set TF_USE_LEGACY_KERAS=1 in the "
            "environment of this process."
        )
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
