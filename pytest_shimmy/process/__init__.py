"""Spawn a command, drain its output, end its whole process group. Knows nothing of shimmy."""
