"""Reports with pictures."""
