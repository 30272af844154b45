"""Pooled history, crosses and an MLP."""
