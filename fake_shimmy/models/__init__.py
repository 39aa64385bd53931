"""Model files: where they are found, what they are called, what they say.

Imports: machines, releases, rust, serde, wire.
"""
