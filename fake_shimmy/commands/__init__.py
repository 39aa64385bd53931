"""Everything that the command line says and does, below ``serve``."""
