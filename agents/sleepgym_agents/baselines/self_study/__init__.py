"""Agents that turn their day into questions, or practice into rewards, and learn from these."""
