"""Vectors to ScaNN's tree, in processes without TensorFlow."""
