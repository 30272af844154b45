"""How a servable answers: exactly, or through the tree as stock TensorFlow operations."""
