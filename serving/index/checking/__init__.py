"""What an index is worth: recall, latency, and what an operator asks about it."""
