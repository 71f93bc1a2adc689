"""Procedural worlds: invented facts and rules with exact ground truth, fresh for every seed."""
