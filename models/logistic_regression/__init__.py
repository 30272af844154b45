"""Logistic regression on sparse features."""
