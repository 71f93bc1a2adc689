"""Verifying a submission, rule by rule."""
