"""Popularity: the smoothed click rate of an item."""
