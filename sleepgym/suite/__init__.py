"""Suites: many runs of several agents on the same streams."""
