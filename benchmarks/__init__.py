"""Benchmarks: each prints a table and keeps its raw result in `benchmarks/results`."""
