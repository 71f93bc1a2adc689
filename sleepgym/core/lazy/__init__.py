"""Streams that are made on demand, so that a long horizon fits into memory."""
