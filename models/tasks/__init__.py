"""TFRS tasks: losses, and the negatives that they learn from."""
