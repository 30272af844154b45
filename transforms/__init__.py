"""Raw features to model features: one definition for training, evaluation and serving."""

from transforms.keras_version import use_keras_2

use_keras_2()
