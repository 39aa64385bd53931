"""``pytest-shimmy doctor``, as a process: what would run and why, for people and for programs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from fake_shimmy import NEWEST
from fake_shimmy.models import tiny_gguf
from pytest_shimmy.executable.identify import bundled_fake, identify
from pytest_shimmy.models.search_path import searched
from pytest_shimmy.supervisor import ports
from tests.support.command_line import said

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "command-line.md"

Run = Callable[..., subprocess.CompletedProcess[str]]
Findings = Callable[..., dict[str, Any]]

pytestmark = [pytest.mark.usefixtures("runtime_dir"), pytest.mark.slow]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder in which doctor runs; no configuration file lies above it."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def doctor(project: Path) -> Run:
    def run(*arguments: str, cwd: Path = project) -> subprocess.CompletedProcess[str]:
        return said("doctor", *arguments, cwd=cwd)

    return run


@pytest.fixture
def find(doctor: Run) -> Findings:
    """What doctor says to programs."""

    def find(*arguments: str, **how: Path) -> dict[str, Any]:
        done = doctor("--json", *arguments, **how)
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.stderr == ""
        assert done.returncode == (0 if found["can_start"] else 1)
        assert found["can_start"] == (not found["problems"])
        return found

    return find


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """An executable that is taken for a real one, on a machine without a GPU's tools."""

    def make(release: str, build: str) -> str:
        path = tmp_path / "shimmy"
        path.write_text(f'#!/bin/sh\nexec {shlex.join(bundled_fake().command)} "$@"\n')
        path.chmod(0o755)
        monkeypatch.setenv("FAKE_SHIMMY_RELEASE", release)
        monkeypatch.setenv("FAKE_SHIMMY_BUILD", build)
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        return f"--shimmy-path={path}"

    return make


def test_it_says_what_a_session_would_run(doctor: Run, runtime_dir: Path) -> None:
    done = doctor()
    assert (done.returncode, done.stderr) == (0, "")
    for line in (
        "settings  all defaults",
        "          pytest's configuration: no file",
        f"server    the bundled fake of shimmy {NEWEST}",
        "          --shimmy-gpu: auto, vulkan",
        "models    1 found, default: placeholder, because the fake has it where no models are set",
        "ports     any of 22435-26434",
        "          leased now: none",
        f"runtime   {runtime_dir}",
        "a session could start",
    ):
        assert line in done.stdout.splitlines()
    assert re.search(r"^gpu       this machine: \w+$", done.stdout, re.MULTILINE)
    assert re.search(
        r"^          cuda: (not found|found|could not tell)", done.stdout, re.MULTILINE
    )


def test_documented_members_are_those_that_there_are(find: Findings) -> None:
    open_ended = {"settings", "gpu.backends", "models.default"}

    def members(value: dict[str, Any], before: str = "") -> Iterator[tuple[str, bool]]:
        """Each with whether it has members of its own that are documented one by one."""
        for name, member in value.items():
            path = before + name
            has_members = isinstance(member, dict) and path not in open_ended
            yield path, has_members
            if has_members:
                yield from members(member, f"{path}.")

    page = PAGE.read_text("utf-8").partition("\n## doctor\n")[2].partition("\n## ")[0]
    shape = page.partition("| Member |")[2]
    documented = set(re.findall(r"^\| `([a-z_.]+)` \|", shape, re.MULTILINE))
    there = dict(members(find()))
    assert documented <= set(there)
    assert {path for path, has_members in there.items() if not has_members} <= documented


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "pyproject.toml",
            "[tool.pytest.ini_options]\nshimmy_models_dir = ['own']\nshimmy_port = '23000'\n",
        ),
        ("pytest.ini", "[pytest]\nshimmy_models_dir =\n  own\nshimmy_port = 23000\n"),
        ("tox.ini", "[pytest]\nshimmy_models_dir = own\nshimmy_port = 23000\n"),
    ],
)
def test_the_configuration_that_pytest_reads_counts(
    name: str, text: str, find: Findings, project: Path
) -> None:
    (project / name).write_text(text)
    (project / "own").mkdir()
    (project / "below").mkdir()
    found = find(cwd=project / "below")
    assert found["config_file"] == str(project / name)
    assert found["settings"] == {
        "models_dir": {"value": [str(project / "own")], "from": "ini option shimmy_models_dir"},
        "port": {"value": 23000, "from": "ini option shimmy_port"},
    }
    assert found["models"]["searched"] == [str(project / "own")]
    assert found["ports"]["wanted"] == 23000


def test_flags_in_addopts_count_after_those_that_were_given(
    find: Findings, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "other.ini").write_text(
        "[pytest]\nshimmy_model = ini\nshimmy_fake_version = 1.8.1\n"
        "addopts = -n 2 --shimmy-model=addopts --shimmy-seed=1 --cov=x\n"
    )
    monkeypatch.setenv("PYTEST_ADDOPTS", "-c other.ini --shimmy-seed=2 --of-another-plugin")
    monkeypatch.setenv("PYTEST_SHIMMY_FAKE_VERSION", "2.5.0")
    found = find("--shimmy-max-restarts=0")
    assert {name: tuple(entry.values()) for name, entry in found["settings"].items()} == {
        "model": ("addopts", "--shimmy-model in addopts"),
        "seed": (2, "--shimmy-seed in addopts"),
        "fake_version": (["2.5.0"], "environment variable PYTEST_SHIMMY_FAKE_VERSION"),
        "max_restarts": (0, "--shimmy-max-restarts"),
    }
    assert found["models"]["default"] == {
        "id": "addopts",
        "reason": "--shimmy-model in addopts says so",
    }
    assert find("--shimmy-model=flag")["settings"]["model"]["from"] == "--shimmy-model"


def test_nothing_of_the_project_runs(
    find: Findings, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "pytest.ini").write_text(
        "[pytest]\nrequired_plugins = nobody-has-this\nshimmy_seed = 7\nunknown = 1\n"
        "addopts = --strict-config\npythonpath = .\nfilterwarnings = error\n"
    )
    (project / "conftest.py").write_text("print('here'); raise SystemExit(3)")
    (project / "mine.py").write_text("raise SystemExit(4)")
    monkeypatch.setenv("PYTEST_PLUGINS", "mine")
    assert find()["settings"]["seed"]["value"] == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pytest]\nshimmy_port = never", "ini option shimmy_port: 'never' is not a port"),
        ("[pytest]\naddopts = --shimmy-port=0", "--shimmy-port: '0' is not a port"),
        ("[pytest]\naddopts = --shimmy-port", "addopts: argument --shimmy-port"),
        ("no section", "pytest cannot be configured: "),
    ],
)
def test_a_bad_configuration_is_a_problem(
    text: str, said: str, find: Findings, project: Path
) -> None:
    (project / "pytest.ini").write_text(text)
    found = find()
    assert len(found["problems"]) == 1
    assert said in found["problems"][0]
    assert found["server"] is None


def test_a_bad_flag_is_a_usage_error(doctor: Run) -> None:
    done = doctor("--shimmy-port=0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--shimmy-port: '0' is not a port" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not say")
def test_it_says_who_holds_a_port(find: Findings, doctor: Run, runtime_dir: Path) -> None:
    (runtime_dir / "ports").mkdir(parents=True)
    (runtime_dir / "ports" / "23456.lock").touch()  # of a lease that has ended
    with ports.lease(23457) as lease:
        (held,) = find()["ports"]["leased"]
        assert (held["port"], held["pid"]) == (lease.port, os.getpid())
        assert "python" in held["command"]
        assert f"  {lease.port} by process {os.getpid()}, " in doctor().stdout


def test_a_taken_port_is_a_warning(find: Findings) -> None:
    with ports.lease() as lease:
        (warning,) = find(f"--shimmy-port={lease.port}")["warnings"]
    assert f"port {lease.port} is taken now; a session would take " in warning


def test_it_says_what_killed_runs_left_and_which_logs_are_kept(
    find: Findings, runtime_dir: Path
) -> None:
    servers, logs = runtime_dir / "servers", runtime_dir / "logs"
    for directory in (servers / "killed", servers / "alive", logs):
        directory.mkdir(parents=True)
    (servers / "killed.lock").touch()
    (logs / "one.log").write_bytes(b"12345")
    (logs / "two.log").write_bytes(b"6789")
    with FileLock(str(servers / "alive.lock")):
        runtime = find()["runtime"]
    assert runtime == {
        "directory": str(runtime_dir),
        "left_behind": [str(servers / "killed")],
        "kept_logs": {"directory": str(logs), "count": 2, "bytes": 9},
    }
    assert (servers / "killed").exists()  # whoever looks changes nothing


def test_one_problem_hides_nothing_else(find: Findings, doctor: Run) -> None:
    found = find("--shimmy-path=/no/such/shimmy", "--shimmy-require=real")
    (problem,) = found["problems"]
    assert problem.startswith("[BINARY_NOT_FOUND] no shimmy executable at /no/such/shimmy")
    assert found["settings"]["require"] == {"value": ["real"], "from": "--shimmy-require"}
    assert None not in (found["gpu"], found["ports"], found["runtime"])
    done = doctor("--shimmy-path=/no/such/shimmy")
    assert "problem   [BINARY_NOT_FOUND] no shimmy executable at" in done.stdout
    assert done.stdout.endswith("a session could not start\n")


def test_a_backend_that_cannot_be_asked_for_is_a_problem(find: Findings) -> None:
    fine = find("--shimmy-gpu=cuda", "--shimmy-gpu=vulkan")
    assert fine["server"]["version"] == "1.8.1"
    assert fine["server"]["build"]["compiled_in"] == ["cuda"]
    assert fine["can_start"]
    (problem,) = find("--shimmy-fake-version=2.5.0", "--shimmy-gpu=cuda")["problems"]
    assert problem.startswith("[UNSUPPORTED_ACCEL] shimmy 2.5.0 cannot be told to use 'cuda'")


def test_an_attached_server_is_looked_at(
    find: Findings, doctor: Run, fake_server: tuple[str, object]
) -> None:
    url, _ = fake_server
    assert f"server    attached to {url}, shimmy {NEWEST}" in doctor(f"--shimmy-url={url}").stdout
    found = find(f"--shimmy-url={url}", "--shimmy-model=nobody")
    assert [model["id"] for model in found["models"]["found"]] == ["attached"]
    assert "[MODEL_NOT_FOUND] the server has no model 'nobody'" in found["warnings"][0]
    (problem,) = find("--shimmy-url=http://127.0.0.1:9")["problems"]
    assert problem.startswith("[HEALTHCHECK_FAILED] no answer from http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("release", "build", "gpu", "said"),
    [
        ("2.5.0", "default", "auto", "generates on a GPU or on a software renderer"),
        ("1.8.1", "opencl", "opencl", "It would silently use the processor"),
        ("2.5.0", "cpu-only", "cpu", "it reads SafeTensors only"),
    ],
)
def test_what_would_not_answer_is_a_warning(
    release: str,
    build: str,
    gpu: str,
    said: str,
    find: Findings,
    project: Path,
    stand_in: Callable[..., str],
) -> None:
    (project / "models").mkdir()
    (project / "models" / "some.gguf").write_bytes(b"GGUF")
    found = find(stand_in(release, build), f"--shimmy-gpu={gpu}")
    assert (found["server"]["mode"], found["server"]["version"]) == ("real", release)
    assert [said in warning for warning in found["warnings"]] == [True]
    assert found["models"]["default"] == {"id": "some", "reason": "it is the only one"}


@pytest.mark.parametrize("content", [b"GGUF", b"", tiny_gguf.contents()[:200]])
def test_a_model_file_that_the_engine_panics_over_is_a_warning(
    content: bytes, find: Findings, project: Path, stand_in: Callable[..., str]
) -> None:
    (project / "models").mkdir()
    (project / "models" / "some.gguf").write_bytes(content)
    (warning,) = (each for each in find(stand_in("2.6.5", "default"))["warnings"] if "GGUF" in each)
    assert "it is no GGUF, or is cut short" in warning
    assert "--shimmy-tiny-model" in warning
    (project / "models" / "some.gguf").write_bytes(tiny_gguf.contents())
    assert not any("GGUF" in each for each in find(stand_in("2.6.5", "default"))["warnings"])


def test_without_a_model_2_x_cannot_start_and_1_x_can(
    find: Findings, stand_in: Callable[..., str]
) -> None:
    (problem,) = find(stand_in("2.5.0", "cpu-only"))["problems"]
    assert problem.startswith("[NO_MODELS] the executable finds no model.")
    old = find(stand_in("1.8.1", "default"))
    assert old["can_start"]
    assert old["warnings"][0].startswith("[NO_MODELS]")


@pytest.mark.parametrize("state", ["well", "no executable", "no model"])
def test_it_fits_a_narrow_terminal_and_says_a_thing_once(
    state: str,
    doctor: Run,
    project: Path,
    stand_in: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for name in ("own", "other"):
        (project / name).mkdir()
    (project / "own" / "some.gguf").write_bytes(tiny_gguf.contents())
    executable = stand_in("2.6.5", "default")
    arguments = {
        "well": ["--shimmy-models-dir=other/../own"],
        "no executable": ["--shimmy-path=/no/such/shimmy"],
        "no model": [executable],
    }[state]
    shown = doctor(*arguments).stdout
    for line in shown.splitlines():
        text = line[10:].strip()
        assert len(line) <= 60 or " " not in text, "only what has no space is longer"
    assert len(re.findall("^vulkan|[^-]vulkan: ", shown)) <= 1
    assert shown.count("names a device") <= 1
    match state:
        case "well":
            assert "models    1 found, default: some, because it is the only" in shown
            assert "\n          * some\n" in shown
            assert str(project / "own" / "some.gguf") in shown.split()
            assert ".." not in shown
        case "no executable":
            assert "\nserver    cannot be used, see the problem below\n" in shown
            assert shown.count("/no/such/shimmy") == 2, "the setting, and the problem"
        case "no model":
            assert shown.count(executable.partition("=")[2]) == 1
            assert "\nproblem   [NO_MODELS] the executable finds no model.\n" in shown


def test_many_models_do_not_fill_the_screen(doctor: Run, tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"model-{number:02}.gguf").write_bytes(b"GGUF")
    done = doctor(f"--shimmy-models-dir={tmp_path}", "--shimmy-model=model-29")
    assert "model-08" in done.stdout
    assert "model-09" not in done.stdout
    assert "*  model-29" in done.stdout  # the default is there, whatever its place
    assert "  and 20 more: pytest-shimmy models list" in done.stdout


@pytest.mark.shimmy_real
def test_a_real_executable_is_looked_at(
    find: Findings, real_shimmy: Path, models_dir: Path, project: Path
) -> None:
    found = find(f"--shimmy-path={real_shimmy}", f"--shimmy-models-dir={models_dir}")
    assert found["can_start"]
    assert found["server"]["path"] == str(real_shimmy)
    assert found["server"]["version"] == identify(real_shimmy).version
    assert "auto" in found["server"]["gpu_modes"]
    assert [model["id"] for model in found["models"]["found"]] == ["tiny"]
    assert {str(models_dir), str(project / "models")} <= set(found["models"]["searched"])


@pytest.mark.parametrize("told", ["flag", "variable"])
def test_the_search_path_is_the_one_that_discover_names(
    told: str, shimmy: Path | None, tmp_path: Path
) -> None:
    executable = bundled_fake() if shimmy is None else identify(shimmy)
    named = [str(tmp_path / "one"), str(tmp_path / 'tw"o')]
    env = {
        "HOME": str(tmp_path / "me"),
        "OLLAMA_MODELS": str(tmp_path / "ollama"),
        "SHIMMY_BASE_GGUF": str(tmp_path / "base" / "some.gguf"),
    }
    if told == "variable":
        env["SHIMMY_MODEL_PATHS"] = ";".join(named)
    flags = ["--model-dirs", ";".join(named)] if told == "flag" else []
    empty = subprocess.run(
        [*executable.command, "discover", *flags],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = re.findall(r'• "(.*)"', empty.stdout)
    expected = list(dict.fromkeys(tmp_path / line.replace('\\"', '"') for line in lines))
    assert len(expected) > 8
    # It says the same when there is something to be found everywhere.
    for directory in expected:
        directory.mkdir(parents=True)
        (directory / "found.gguf").write_bytes(b"GGUF")
    assert searched(executable, named if flags else [], env, tmp_path) == expected


def test_an_executable_that_does_not_say_where_it_looks(pretend: Any, tmp_path: Path) -> None:
    executable = identify(pretend().shimmy_path)
    assert searched(executable, [], dict(os.environ), tmp_path) is None
