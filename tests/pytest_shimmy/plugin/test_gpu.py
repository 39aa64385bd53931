"""GPU backends at the plugin's face: markers, selection, header, and what the fake pretends."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from fake_shimmy import NEWEST
from pytest_shimmy.executable.identify import bundled_fake
from tests.support.consumer_suite import Run

MARKED = """
import pytest

@pytest.mark.shimmy_gpu("cuda")
def test_marked(shimmy_server):
    assert (shimmy_server.gpu.in_use, shimmy_server.gpu.verified) == ("cuda", True)
"""


@pytest.fixture(autouse=True)
def no_pretence_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FAKE_SHIMMY_GPU", "FAKE_SHIMMY_BUILD"):
        monkeypatch.delenv(name, raising=False)


# The fake pretends


@pytest.mark.parametrize("backend", ["cpu", "cuda", "vulkan", "metal"])
def test_the_fake_is_a_machine_with_the_backend_that_is_asked_for(
    pytester: pytest.Pytester, run: Run, backend: str
) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.shimmy_gpu("{backend}")
        def test_marked(shimmy_server):
            gpu = shimmy_server.gpu
            assert (gpu.requested, gpu.in_use, gpu.verified) == ("{backend}", "{backend}", True)
            assert gpu.is_as_requested
            assert gpu.evidence
        """
    )
    run(f"--shimmy-gpu={backend}").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("told", "evidence"),
    [("FAKE_SHIMMY_GPU=nvidia-hidden", "*no CUDA-capable device is detected*")],
)
def test_a_backend_that_is_silently_replaced_is_seen_through(
    pytester: pytest.Pytester, run: Run, told: str, evidence: str
) -> None:
    pytester.makepyfile(
        MARKED
        + """
def test_unmarked(shimmy_server):
    gpu = shimmy_server.gpu
    assert (gpu.requested, gpu.in_use, gpu.verified) == ("cuda", "cpu", True)
    assert not gpu.is_as_requested
"""
    )
    arguments = ("--shimmy-gpu=cuda", f"--shimmy-env={told}")
    result = run(*arguments, "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines("SKIPPED*this one uses cpu*though asked for cuda*" + evidence)
    result = run(*arguments, "--shimmy-require=gpu")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        "*[[]UNSUPPORTED_ACCEL[]] *this one uses cpu*(required by --shimmy-req*"
    )


def test_the_same_by_a_variable_of_the_run(
    pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SHIMMY_GPU", "nvidia-hidden")
    pytester.makepyfile(MARKED)
    run("--shimmy-gpu=cuda").assert_outcomes(skipped=1)


def test_what_the_release_cannot_be_told_is_an_error_that_says_what_can(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile("def test_one(shimmy_server): pass")
    result = run("--shimmy-gpu=cuda", "--shimmy-fake-version=2.5.0")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*[[]UNSUPPORTED_ACCEL[]] shimmy 2.5.0 cannot be told to use 'cuda'*",
            "*can be asked for*",
        ]
    )


def test_the_header_names_the_releases_that_are_pretended(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile("")
    run("--shimmy-gpu=cuda", "--shimmy-gpu=vulkan").stdout.fnmatch_lines(
        f"shimmy: bundled fake of shimmy 1.8.1/{NEWEST}, gpu cuda/vulkan, one server per run"
    )


# Markers


def test_the_plain_fake_has_no_gpu_and_the_reason_says_how_to_get_one(
    pytester: pytest.Pytester, run: Run, runtime_dir: Path
) -> None:
    pytester.makepyfile(MARKED)
    result = run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines("SKIPPED * needs a server that uses cuda, and the fake's machine *")
    assert "--shimmy-gpu" in result.stdout.str().partition("SKIPPED")[2]
    assert not runtime_dir.exists(), "for that no server was started"


def test_a_backend_that_does_not_exist_fails_the_test(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(MARKED.replace('"cuda"', '"cuba"', 1))
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*there is no GPU backend 'cuba'; there are *cuda*")


LATE = """
import pytest

@pytest.mark.shimmy_gpu("cuda")
def test_late(request):
    assert request.getfixturevalue("shimmy_server").health()

@pytest.mark.shimmy_gpu("cuda")
def test_private(make_shimmy_server):
    assert make_shimmy_server().health()

@pytest.mark.shimmy_gpu("cuda")
def test_compares(make_shimmy_server):
    assert make_shimmy_server(gpu="cpu").gpu.in_use == "cpu"
"""


def test_a_server_that_a_marked_test_gets_itself_is_judged_too(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(LATE)
    run("--shimmy-gpu=cuda").assert_outcomes(passed=3)
    hidden = "--shimmy-env=FAKE_SHIMMY_GPU=nvidia-hidden"
    run("--shimmy-gpu=cuda", hidden).assert_outcomes(passed=1, skipped=2)


# Selection


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_several_backends_run_the_suite_once_each_on_one_server_each(
    pytester: pytest.Pytester, run: Run, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.shimmy_gpu("cuda", "cpu")
        @pytest.mark.parametrize("n", range(2))
        def test_both(shimmy_server, n):
            with open("servers", "a") as servers:
                servers.write(f"{shimmy_server.pid} {shimmy_server.gpu.in_use}\\n")

        @pytest.mark.shimmy_gpu("cuda")
        def test_cuda(shimmy_server):
            assert shimmy_server.gpu.in_use == "cuda"

        def test_none():
            pass
        """
    )
    result = run("--shimmy-gpu=cuda", "--shimmy-gpu=cpu", "-v", *workers)
    result.assert_outcomes(passed=6, skipped=1)
    assert {"test_both[cuda-0]", "test_cuda[cpu]"} <= {
        word.partition("::")[2] for line in result.outlines for word in line.split()
    }
    servers = (pytester.path / "servers").read_text().splitlines()
    assert len(servers) == 4
    assert sorted(line.split()[1] for line in set(servers)) == ["cpu", "cuda"]


# A real executable, on a machine of which we decide what it has


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """What the plugin takes for a real executable."""
    path = tmp_path / "shimmy"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(bundled_fake().command)} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose tools find no GPU, and write down that they were asked."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("nvidia-smi", "vulkaninfo", "clinfo", "rocminfo", "rocm-smi"):
        tool = tools / name
        tool.write_text(f"#!/bin/sh\necho {name} >> {tmp_path}/asked\nexit 9\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path / "asked"


pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts"),
    pytest.mark.slow,
]


def arguments(real: Path, pytester: pytest.Pytester) -> list[str]:
    (pytester.path / "some.gguf").write_bytes(b"GGUF")
    return [f"--shimmy-path={real}", f"--shimmy-model={pytester.path / 'some.gguf'}"]


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_a_machine_without_the_backend_skips_with_evidence_and_looks_once(
    pytester: pytest.Pytester, run: Run, real: Path, machine: Path, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile(test_a=MARKED, test_b=MARKED)
    result = run(*arguments(real, pytester), "-rs", *workers)
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines("SKIPPED * which this machine does not have: cuda not found*")
    asked = machine.read_text().split()
    assert len(asked) == len(set(asked)), "every tool once in the run, whatever the workers"


def test_what_needs_no_gpu_costs_no_look(
    pytester: pytest.Pytester, run: Run, real: Path, machine: Path
) -> None:
    pytester.makepyfile(MARKED + "\ndef test_unmarked(shimmy_server): pass\n")
    result = run(*arguments(real, pytester), "-m", "not shimmy_gpu")
    result.assert_outcomes(passed=1, deselected=1)
    assert not machine.exists()


def test_the_header_says_what_the_machine_has_of_what_is_asked_for(
    pytester: pytest.Pytester, run: Run, real: Path, machine: Path
) -> None:
    pytester.makepyfile("")
    result = run(*arguments(real, pytester), "--shimmy-gpu=vulkan")
    result.stdout.fnmatch_lines("shimmy: this machine: vulkan * (vulkaninfo*")
    result = run(*arguments(real, pytester), "--shimmy-require=gpu")
    result.stdout.fnmatch_lines("shimmy: this machine: No GPU *")


def test_the_fixture_says_what_this_machine_has(
    pytester: pytest.Pytester, run: Run, machine: Path
) -> None:
    pytester.makepyfile(
        """
        def test_accel(shimmy_accel):
            assert shimmy_accel.recommended == "cpu"
            assert shimmy_accel.backends["cuda"].state != "found"
        """
    )
    run().assert_outcomes(passed=1)
