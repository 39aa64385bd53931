"""Measurements of pytest-shimmy beside its peers: ``python -m benchmarks``. See README.md."""
