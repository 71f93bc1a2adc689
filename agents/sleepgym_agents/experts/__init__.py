"""Low-rank experts that grow every night, and the routers that choose among them."""
