"""Checks of an index: recall, latency, and reports for operators."""
