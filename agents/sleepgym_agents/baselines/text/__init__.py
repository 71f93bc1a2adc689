"""Agents that keep text, or nothing."""
