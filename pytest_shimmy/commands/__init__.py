"""The commands of ``pytest-shimmy``: a module each, called with settings by `cli`.

What they do is in the other folders; here it is put before a person at a terminal.
"""
