"""Ranking: the probability of a click, for each candidate of a page."""
