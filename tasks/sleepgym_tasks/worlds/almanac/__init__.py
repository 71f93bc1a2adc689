"""How streams of the invented world are written."""
