"""Metrics, statistics and comparisons as pure functions of records."""
