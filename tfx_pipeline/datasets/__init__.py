"""Public and simulated sources, each turned into the standard event log."""
