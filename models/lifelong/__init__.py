"""Ranking models of long histories: each candidate finds the events that go with it."""
