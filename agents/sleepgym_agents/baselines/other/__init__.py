"""Self-edits, test-time training, class Gaussians, memories of several kinds."""
