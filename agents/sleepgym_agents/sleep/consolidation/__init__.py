"""What a night turns a day, and what was known before, into; and what learns it."""
