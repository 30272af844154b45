"""`tf.Example`s in wire format, and the TFRecord files that hold them."""
