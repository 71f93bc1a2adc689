"""Scores and costs of a run, night by night, in the experiment tracker of your choice."""
