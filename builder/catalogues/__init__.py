"""Particle catalogues that come with the program; `builder.catalogue` reads them by name."""
