"""A plugin of the pytest runs that the chaos tests start: each test is run in a forked child.

As pytest-forked does it, which is not kept up with pytest. Loaded with ``-p forked``.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from _pytest.runner import runtestprotocol


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for data in _forked(item, nextitem):
        report = item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _forked(item: pytest.Item, nextitem: pytest.Item | None) -> list[dict[str, Any]]:
    """The reports of a child that ends as soon as it has run the test."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        try:
            serialize = item.config.hook.pytest_report_to_serializable
            reports = [
                serialize(config=item.config, report=report)
                for report in runtestprotocol(item, log=False, nextitem=nextitem)
            ]
            with open(into, "w") as pipe:
                json.dump(reports, pipe)
        finally:
            os._exit(0)
    os.close(into)
    with open(out) as pipe:
        reports = json.load(pipe)
    os.waitpid(child, 0)
    return list(reports)
