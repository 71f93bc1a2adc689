"""The language model: loading, prompts, decoding, scoring, adapters, checkpoints; no agents."""
