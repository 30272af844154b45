"""Embeddings of users and items as Parquet files, for whoever else can use them."""
