"""The submission file: its schema, its fields, reading and writing it."""
