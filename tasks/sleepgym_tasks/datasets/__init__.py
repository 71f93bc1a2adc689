"""Readers of public data sets, each in its original format."""
