"""What the command line says and does: `main` reads it, and each command has a module.

Imports: api, machines, models, releases, rust, script, serving, stage.
"""
