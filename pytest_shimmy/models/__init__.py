"""Models: which there are, which is the default, and how a missing one is fetched."""
