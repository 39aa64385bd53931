"""``GET /metrics`` and the tools it runs. Expected: real 2.5.0 CPU-only."""

from __future__ import annotations

import json
import os

import pytest

from tests.support.fake_process import neutral

GONE = {"gpu_detected": False, "gpu_vendor": None}


def tool(folder, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{folder}/calls"\n{script}\n')
    path.chmod(0o755)


def calls(folder) -> list[str]:
    log = folder / "calls"
    return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def measured(shimmy):
    """What a server says whose PATH has these tools, and how they were called."""
    (shimmy.cwd / "models").mkdir()
    (shimmy.cwd / "models" / "big.gguf").write_bytes(b"x" * (1 << 20))
    folder = shimmy.cwd / "tools"
    folder.mkdir()

    def measure(tools: dict[str, str], **extra: str):
        for name, script in tools.items():
            tool(folder, name, script)
        path = f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"
        with shimmy.serve(**{"PATH": path} | extra) as running:
            answer = running.request("GET", "/metrics")
        return json.loads(answer.body), calls(folder), answer

    return measure


def test_metrics_byte_for_byte(measured):
    found, called, answer = measured({})
    total = found["system"]["memory_total_mb"]
    assert neutral(answer.body) == (
        b'{"endpoints":["/health","/metrics","/v1/chat/completions","/v1/models","/api/generate",'
        b'"/api/models"],"features":{"huggingface":true},"gpu_detected":false,"gpu_vendor":null,'
        b'"models":{"by_type":{"discovered":1,"manual":1},"total_count":1,"total_size_mb":1},'
        b'"service":"shimmy","system":{"memory_available_mb":0,"memory_free_mb":0,'
        b'"memory_total_mb":%d},"timestamp":"T","version":"2.5.0"}' % total
    )
    assert 0 < found["system"]["memory_free_mb"] <= total
    assert not called


@pytest.mark.parametrize(
    ("tools", "vendor", "called"),
    [
        ({"nvidia-smi": "exit 0"}, "nvidia", ["nvidia-smi --version"] * 2),
        ({"nvidia-smi": "head -c 200000 /dev/zero"}, "nvidia", ["nvidia-smi --version"] * 2),
        (
            {"nvidia-smi": "exit 9", "rocm-smi": "exit 0"},
            "amd",
            ["nvidia-smi --version", "rocm-smi --version"] * 2,
        ),
        (
            {"wmic": "echo AMD RADEON; exit 1"},
            "amd",
            ["wmic path win32_VideoController get name"] * 2,
        ),
        ({"wmic": "echo InTel"}, "intel", ["wmic path win32_VideoController get name"] * 4),
        (
            {"nvidia-smi": "kill -9 $$", "rocm-smi": "exit 1"},
            None,
            ["nvidia-smi --version", "rocm-smi --version"] * 2,
        ),
    ],
)
def test_tools_on_the_path_are_asked_twice(measured, tools, vendor, called):
    found, seen, _ = measured(tools)
    assert (found["gpu_detected"], found["gpu_vendor"]) == (vendor is not None, vendor)
    assert seen == called


def test_a_pretended_machine_without_a_gpu_runs_nothing(measured):
    found, called, _ = measured({"nvidia-smi": "exit 0"}, FAKE_SHIMMY_GPU="none")
    assert {name: found[name] for name in GONE} == GONE
    assert not called


def test_a_slow_tool_holds_up_nobody_else(shimmy):
    (shimmy.cwd / "models").mkdir()
    (shimmy.cwd / "models" / "big.gguf").write_bytes(b"")
    # The first run ends when somebody opens the pipe for writing.
    os.mkfifo(shimmy.cwd / "gate")
    tool(shimmy.cwd, "nvidia-smi", "[ -e done ] || cat gate; touch done")
    path = f"{shimmy.cwd}{os.pathsep}/usr/bin{os.pathsep}/bin"
    with shimmy.serve(PATH=path) as running, running.connect() as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert running.request("GET", "/health").status == 200
        (shimmy.cwd / "gate").write_text("")
        assert b'"gpu_vendor":"nvidia"' in sock.makefile("rb").read()
