"""What runs beside or in front of TF Serving."""

import os

# TFRS needs Keras 2, and TensorFlow reads this when it is first imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
