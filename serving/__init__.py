"""Serving: client, local server, index, publishing."""

import os

# TFRS needs Keras 2, and TensorFlow reads this when it is first imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
