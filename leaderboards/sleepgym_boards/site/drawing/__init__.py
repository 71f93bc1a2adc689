"""Pictures of the site, drawn as SVG."""
