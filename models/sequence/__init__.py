"""The sequence model: a transformer over timelines."""
