"""Boards, submissions and their verification.

Nothing is here yet but the name: boards arrive with the leaderboard issue.
"""
