"""The sequence encoder as a user vector for ranking."""
