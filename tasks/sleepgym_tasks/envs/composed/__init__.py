"""Families made of other families."""
