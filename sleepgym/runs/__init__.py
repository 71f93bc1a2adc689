"""The run loop, its journal and records."""
