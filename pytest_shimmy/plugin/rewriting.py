"""Our own modules, without pytest's rewriting of assertions.

pytest rewrites all modules of a plugin. Ours have no assertions for tests, and what pytest has
rewritten takes four times as long to load: that was half of what a first server cost a run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def not_rewritten() -> Iterator[None]:
    """What is imported within it is imported as it is."""
    finders = enumerate(sys.meta_path)
    hooks = [each for each in finders if type(each[1]).__name__ == "AssertionRewritingHook"]
    for _, hook in hooks:
        sys.meta_path.remove(hook)
    try:
        yield
    finally:
        for place, hook in hooks:
            sys.meta_path.insert(place, hook)
