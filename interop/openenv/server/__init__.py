"""The server that ``openenv.yaml`` names."""
