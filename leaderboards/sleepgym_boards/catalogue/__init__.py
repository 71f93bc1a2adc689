"""Submissions and verdicts on disk."""
