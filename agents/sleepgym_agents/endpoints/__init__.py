"""Language models behind an OpenAI-compatible server, for agents that keep text or nothing."""
