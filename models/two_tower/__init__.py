"""The two-tower."""
