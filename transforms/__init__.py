"""Raw features to model features: one definition for training, evaluation and serving."""

from transforms.stack import leave_out_scann_operations
from transforms.stack import use_keras_2

use_keras_2()
leave_out_scann_operations()
