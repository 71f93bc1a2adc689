"""The agents of the paper: Knowledge Seeding, Dreaming, and both."""
