"""The commands of ``pytest-shimmy``: a module each, called with settings by `cli`."""
