"""What pytest loads by the name ``shimmy``: the hooks, and no more of them than their names.

It is itself rewritten by pytest, so it is short; see `rewriting`.
"""

from __future__ import annotations

from .rewriting import not_rewritten

with not_rewritten():
    from .hooks import (  # noqa: F401 - pytest finds them by their names
        pytest_addoption,
        pytest_configure,
        pytest_configure_node,
        pytest_fixture_setup,
        pytest_generate_tests,
        pytest_load_initial_conftests,
        pytest_report_header,
        pytest_runtest_call,
        pytest_runtest_makereport,
        pytest_runtest_setup,
        pytest_runtest_teardown,
        pytest_runtestloop,
        pytest_sessionfinish,
        pytest_terminal_summary,
        pytest_testnodedown,
        pytest_unconfigure,
    )
