"""Streams, environments, agents, budgets and the registry: what every other part stands on."""
