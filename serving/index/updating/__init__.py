"""Candidates that come, change and go, without a new tree."""
