"""Retrieval: towers whose dot product ranks the whole catalogue."""
