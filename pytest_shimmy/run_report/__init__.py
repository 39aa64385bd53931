"""The report of a run: what happened between tests and servers, as data, a page, a comparison.

`parts` is written while tests run, by every process of the run; `reader` reads it, and `collect`
makes one document of it; `page` shows a document, `comparison` compares two. Nothing here knows
pytest: the hooks that feed it are in `plugin`.
"""
