"""A small model server for laptops that speaks TF Serving's gRPC protocol.

`config.ServerConfig` and `main.serve` need no TensorFlow to be imported.
Production runs TF Serving itself, on the same version directories.
"""
