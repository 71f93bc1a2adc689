"""Language models by name: where their files are, and how they come here."""
