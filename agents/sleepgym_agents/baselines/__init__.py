"""The agents that sleep is measured against."""
