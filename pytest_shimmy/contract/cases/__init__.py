"""The checks, as tables: a module for each kind, with a function ``cases()``.

A case says what to do and in which environment. How it is done is `contract.observe`'s, and what
may vary `contract.normalise`'s.
"""
