"""The vocabulary of scripts: what a person may tell the fake to do. Pure, and shared with tests.

Imports: nothing.
"""
