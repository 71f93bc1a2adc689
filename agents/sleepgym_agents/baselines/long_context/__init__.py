"""Agents that keep what they read beyond the day as numbers a model attends to."""
