"""Which shimmy an executable is, how it is told things, and what the bundled fake pretends.

Runs ``--version`` and ``gpu-info``; never ``serve``.
"""
