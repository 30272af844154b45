"""GMN: a user's watched and bought entities, matched."""
