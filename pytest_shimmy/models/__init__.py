"""Models: which there are, which is the default, and how one comes here that is missing."""
