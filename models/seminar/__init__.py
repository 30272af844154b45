"""SEMINAR: one sequence of query-item pairs, of several modalities, searched and attended to."""
