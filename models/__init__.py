"""The recommenders: layers, tasks, input pipeline and trainer."""

import transforms  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)
