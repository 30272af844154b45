"""Requests to a retrieval servable, and checks of its answers."""
