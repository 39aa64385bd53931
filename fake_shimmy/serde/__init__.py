"""JSON as serde_json reads it, complaints included.

Imports: rust.
"""
