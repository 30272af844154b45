"""The benchmark of embeddings: downstream tasks for users, items and pairs of them."""
