"""Sources of candidates beside the towers: neighbour lists, and how sources are joined."""
