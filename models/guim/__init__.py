"""GUIM: one embedding of every user and item, a user's as a mixture of several vectors."""
