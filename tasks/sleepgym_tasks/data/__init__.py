"""Where data files come from, and parsing them safely."""
