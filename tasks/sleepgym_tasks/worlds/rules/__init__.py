"""Invented rules, intents and extracts."""
