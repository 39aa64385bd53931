"""``pytest-shimmy serve`` and ``models list``, as processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

CLI = [sys.executable, "-m", "pytest_shimmy.cli"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_exports_and_a_signal_stops_it(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*CLI, "serve"], stdout=subprocess.PIPE, text=True, env=None, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip().removeprefix("export OPENAI_BASE_URL=")
            assert process.stdout.readline().startswith("export OPENAI_API_KEY=")
            assert urllib.request.urlopen(f"{url}/models", timeout=30).status == 200
            process.send_signal(number)
            assert process.wait(30) == 128 + number
        finally:
            process.kill()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/models", timeout=30)


def test_models_list_says_the_default(models_dir: Path) -> None:
    command = [*CLI, "models", "list", f"--shimmy-models-dir={models_dir}"]
    assert "default: tiny, because" in subprocess.check_output(command, text=True)
    (model,) = json.loads(subprocess.check_output([*command, "--json"], text=True))
    assert (model["id"], model["is_default"]) == ("tiny", True)
