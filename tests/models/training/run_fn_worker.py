"""A worker of `workers_test` that dies at the start of the third epoch.

TF_CONFIG=... python run_fn_worker.py ARGUMENTS.json
"""

import os

from models import trainer
from models.training.callbacks import Validation


def begin(self, epoch, logs=None):
    if epoch == 2:
        os._exit(9)


if __name__ == "__main__":
    Validation.on_epoch_begin = begin
    trainer.main()
