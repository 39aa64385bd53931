"""The whole files that pages show, for CI, compose, tox, nox and editors, do what they say.

Their commands run in a project with one test, on `fake-shimmy` in the place of `shimmy`. What needs
a network or root is only looked at: the test's environment has what such commands install.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients import environments
from tests.clients.conftest import demand
from tests.support.pages import DOCS, blocks

pytestmark = pytest.mark.slow

SHOWN = ("github-actions", "gitlab-ci", "containers", "tox-nox", "editors")
FILES = {
    block.name: block.text
    for page in SHOWN
    for block in blocks(DOCS / "how-to" / f"{page}.md")
    if block.name
}
TEST = """
def test_it_answers(shimmy_openai_client, shimmy_model):
    question = [{"role": "user", "content": "Capital of France?"}]
    answer = shimmy_openai_client.chat.completions.create(model=shimmy_model, messages=question)
    assert answer.choices
"""
INSTALLERS = ("pip", "cargo", "sudo", "apt-get", "python3 -m venv", "test -x")
BINARIES = Path(sys.executable).parent


def github() -> dict[str, list[str]]:
    """The commands of each job."""
    jobs = yaml.safe_load(FILES[".github/workflows/tests.yml"])["jobs"]
    for job in jobs.values():
        assert job["runs-on"]
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
    return {
        name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()
    }


def gitlab() -> dict[str, list[str]]:
    document = yaml.safe_load(FILES[".gitlab-ci.yml"])
    jobs = {name: job for name, job in document.items() if "script" in job}
    for job in jobs.values():
        assert {**document.get(job.get("extends"), {}), **job}["stage"] in document["stages"]
        assert set(job.get("needs", [])) <= set(jobs)
    return {name: job["script"] for name, job in jobs.items()}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, on a machine that has what the jobs install."""
    project, home, path = (tmp_path / name for name in ("project", "home", "path"))
    shimmy = BINARIES / "fake-shimmy"
    for place in (path, home / "shimmy" / "bin", project / "shimmy" / "bin"):
        place.mkdir(parents=True)
        (place / "shimmy").symlink_to(shimmy)
    (project / "venv").mkdir()
    (project / "venv" / "bin").symlink_to(BINARIES)
    (project / "test_project.py").write_text(TEST)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", os.pathsep.join([str(path), str(BINARIES), os.environ["PATH"]]))
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(tmp_path / "runtime"))
    # A project need not have the other plugins of this environment.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugins = "-p xdist.plugin -p pytest_shimmy.plugin -p no:cacheprovider"
    monkeypatch.setenv("PYTEST_ADDOPTS", plugins)
    return project


def run(command: str, cwd: Path, *options: str) -> str:
    shell = ["bash", *options, "-euc", command]
    done = subprocess.run(shell, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(
    ("job", "commands"),
    [
        pytest.param(job, commands, id=f"{where}-{job}")
        for where, jobs in {"github": github(), "gitlab": gitlab()}.items()
        for job, commands in jobs.items()
    ],
)
def test_the_commands_of_a_job_run(job: str, commands: list[str], project: Path) -> None:
    models = project.parent / "models"
    run(f"pytest-shimmy models tiny --shimmy-path=shimmy {models}", project)
    for command in commands:
        run(command, project, "-n")
        if command.startswith(INSTALLERS):
            continue
        if "pytest-shimmy verify" in command:
            command += " -k version"  # all of them take a minute
        said = run(command.replace("/srv/models", str(models)), project)
        if job in ("fake", "real", "gpu"):
            assert "1 passed" in said
            assert "1 test on " + ("the fake" if job == "fake" else "a real executable") in said
            assert (project / "run.html").exists(), "a report to keep"


@pytest.mark.parametrize("where", [".github/workflows/tests.yml", ".gitlab-ci.yml"])
def test_every_job_that_runs_tests_keeps_the_report_of_the_run(where: str) -> None:
    document = yaml.safe_load(FILES[where])
    jobs: dict[str, Any] = document.get("jobs", document)
    for name in ("fake", "real", "gpu"):
        steps = jobs[name].get("steps", [{}])
        kept = steps[-1].get("with") or document[jobs[name]["extends"]]["artifacts"]
        assert "run.html" in kept.get("path", kept.get("paths"))
        assert "always" in (steps[-1].get("if") or kept["when"])


def test_the_services_of_compose_work_together(project: Path) -> None:
    services = yaml.safe_load(FILES["compose.yaml"])["services"]
    fake, tests = services["shimmy"], services["tests"]
    source, target, _ = fake["volumes"][0].split(":")
    (project / source).write_text(FILES["shimmy.toml"])
    scripted = TEST.replace("answer.choices", "answer.choices[0].message.content == 'Paris.'")
    (project / "test_project.py").write_text(scripted)
    given = {**fake["environment"], "FAKE_SHIMMY_READY": "1", "FAKE_SHIMMY_ENDS_WITH": "stdin"}
    given["FAKE_SHIMMY_SCRIPT"] = given["FAKE_SHIMMY_SCRIPT"].replace(target, source)
    server = subprocess.Popen(
        ["fake-shimmy", "serve", "--bind", "127.0.0.1:0"],
        cwd=project,
        env={**os.environ, **given},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    with server, server.stdin:
        ready = (re.fullmatch(r"fake-shimmy listens on (\S+)\n", line) for line in server.stdout)
        address = next(line for line in ready if line is not None)[1]
        variables = [f"{name}={value}" for name, value in tests["environment"].items()]
        command = shlex.join(["env", *variables, *tests["command"]])
        command = command.replace("http://shimmy:11435", address)
        assert "1 test on an attached server" in run(command, project)
        server.stdin.close()
    assert services["application"]["environment"]["OPENAI_API_KEY"] == given["SHIMMY_API_KEY"]
    assert tests["environment"]["PYTEST_SHIMMY_API_KEY"] == given["SHIMMY_API_KEY"]


def test_the_container_of_the_tests_runs_them(project: Path) -> None:
    (command,) = re.findall(r"^CMD (.*)$", FILES["Dockerfile"], re.MULTILINE)
    assert "1 passed" in run(shlex.join(json.loads(command)), project)
    assert (project / "reports" / "run.html").exists()


def test_editors_can_read_their_files(project: Path) -> None:
    settings = json.loads(FILES[".vscode/settings.json"])
    (launch,) = json.loads(FILES[".vscode/launch.json"])["configurations"]
    for arguments in (settings["python.testing.pytestArgs"], launch["args"]):
        chosen = [each.replace("${file}", "test_project.py") for each in arguments]
        assert "1 passed" in run(shlex.join(["pytest", *chosen]), project)


def test_the_environments_of_tox_run_the_tests(project: Path) -> None:
    demand(environments.RECIPES)
    python, *_ = environments.RECIPES.command(project)
    (project / "tox.toml").write_text(FILES["tox.toml"])
    for name in ("fake", "old", "real"):
        shown = run(f"{python} -m tox config -e {name} -k commands pass_env", project)
        assert "  PYTEST_SHIMMY_*\n" in shown
        (command,) = re.findall("^commands = (.*)$", shown, re.MULTILINE)
        assert "1 passed" in run(command, project)


def test_the_sessions_of_nox_run_the_tests(project: Path) -> None:
    demand(environments.RECIPES)
    python, *_ = environments.RECIPES.command(project)
    (project / "noxfile.py").write_text(FILES["noxfile.py"])
    here = "--no-venv --no-install"
    said = run(f"{python} -m nox {here} -s fake real -- --shimmy-report=run.html 2>&1", project)
    assert said.count("1 passed") == 3
    assert (project / "run.html").exists()
