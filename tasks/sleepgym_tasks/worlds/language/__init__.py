"""Words, names, phrases and values of the invented worlds."""
