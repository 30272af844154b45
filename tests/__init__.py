"""Tests of the project; a package, so that `tests.helpers` can be imported."""
