"""A consumer's test file, for the tests that run pytest itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

CHAT = """
def test_chat(shimmy_openai_client, shimmy_model):
    answer = shimmy_openai_client.chat.completions.create(
        model=shimmy_model, messages=[{"role": "user", "content": "Capital of France?"}])
    assert answer.choices[0].message.content
"""

Run = Callable[..., pytest.RunResult]

WITHOUT_PLUGINS = ("-p", "no:randomly", "-p", "no:anyio", "-p", "no:hypothesispytest")
"""Arguments for a run that needs none of these plugins, which take two thirds of its time: they
load numpy, trio and hypothesis. A later ``-p NAME`` has it back."""
