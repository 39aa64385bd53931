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

ASK = """
import requests
def test_ask(shimmy_server, shimmy_model):
    messages = [{"role": "user", "content": "Capital of France?"}]
    body = {"model": shimmy_model, "messages": messages, "stream": False}
    answer = requests.post(f"{shimmy_server.url}/v1/chat/completions", json=body)
    assert answer.json()["choices"][0]["message"]["content"]
"""
"""The same without openai, which takes longer to load than the rest of a run."""

Run = Callable[..., pytest.RunResult]

FEW_PLUGINS = ("--disable-plugin-autoload", "-p", "shimmy", "-p", "xdist")
"""Arguments for a run with these plugins, and those that more of ``-p NAME`` load. All that are
installed take more than half of a run's time: they load numpy, trio, hypothesis, vcrpy."""

PATIENT_HYPOTHESIS = """
import hypothesis

hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")
"""
"""A ``conftest.py`` for a machine that is busy."""
