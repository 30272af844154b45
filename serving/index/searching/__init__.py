"""Search backends of a servable: exact, or through the tree as stock TensorFlow operations."""
