"""The language model of a run: where its files are, what they are, how it is asked."""
