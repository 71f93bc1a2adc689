"""Agents that fine-tune on the day's raw material."""
