"""What agents keep besides weights: text, samples of old material, class statistics."""
