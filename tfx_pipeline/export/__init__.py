"""Embeddings of users and items as Parquet files, and histories in a store, of a whole log."""
