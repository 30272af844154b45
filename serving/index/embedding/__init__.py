"""Catalogue to vectors: towers on Beam, and what is asked of them."""
