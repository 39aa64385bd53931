"""The GitHub Action and the container file, as far as they can be run without GitHub and an engine
for containers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.languages.conftest import ROOT
from tests.support.fake_process import DEADLINE, free_port

pytestmark = pytest.mark.slow

ACTION = ROOT / "packaging" / "action"
CONTAINER = ROOT / "packaging" / "container" / "Containerfile"

DEFINITION = yaml.safe_load((ACTION / "action.yml").read_text())
STEPS = DEFINITION["runs"]["steps"]
REFERENCE = re.compile(r"\$\{\{ (\w+)\.([\w.-]+) \}\}")
USES = {name: text for step in STEPS for name, text in step.get("env", {}).items()}

Use = Callable[..., dict[str, str]]


@pytest.fixture
def use(tmp_path: Path) -> Iterator[Use]:
    """Do the steps of the action as a runner does: its outputs."""
    files = {name: tmp_path / name for name in ("GITHUB_OUTPUT", "GITHUB_PATH")}
    for path in files.values():
        path.touch()
    started: list[int] = []

    def use(**given: str) -> dict[str, str]:
        inputs = {name: each["default"] for name, each in DEFINITION["inputs"].items()}
        inputs |= {name.replace("_", "-"): text for name, text in given.items()}
        inputs["python"] = sys.executable
        for step in STEPS:
            if step.get("if") == "inputs.serve == 'true'" and inputs["serve"] != "true":
                continue
            path = [*files["GITHUB_PATH"].read_text().split(), os.environ["PATH"]]
            environ = {
                **{name: str(each) for name, each in files.items()},
                "PATH": os.pathsep.join(path),
                "RUNNER_TEMP": str(tmp_path),
                "GITHUB_ACTION_PATH": str(ACTION),
            }
            for name, text in step["env"].items():
                environ[name] = REFERENCE.sub(lambda found: inputs[found[2]], text)
            done = subprocess.run(
                [step["shell"], "-e", "-c", step["run"]],
                env=environ,
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                timeout=DEADLINE,
            )
            assert done.returncode == 0, done.stdout
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        outputs = dict(line.split("=", 1) for line in lines)
        started.extend(int(text) for name, text in outputs.items() if name == "pid")
        return outputs

    yield use
    for pid in started:
        os.kill(pid, signal.SIGKILL)


def ask(url: str, body: bytes | None = None, **headers: str) -> dict[str, object]:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    request = urllib.request.Request(url, body, named)
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        document: dict[str, object] = json.load(answer)
    return document


def test_each_input_reaches_a_step_and_each_output_comes_from_one() -> None:
    named = {each for text in USES.values() for each in REFERENCE.findall(text)}
    named |= {("inputs", "serve")}
    assert named == {("inputs", name) for name in DEFINITION["inputs"]}
    script = (ACTION / "serve.sh").read_text()
    for name, output in DEFINITION["outputs"].items():
        assert output["value"] == f"${{{{ steps.serve.outputs.{name} }}}}"
        assert f'echo "{name}=' in script
    assert set(re.findall(r"\bWITH_\w+", script)) <= set(USES)


@pytest.mark.parametrize("script", sorted(ACTION.glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_well_formed(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--shell=sh", script], check=True)


def test_the_action_starts_a_server_that_the_next_steps_can_use(use: Use, tmp_path: Path) -> None:
    (tmp_path / "script.json").write_text('{"rules": [{"reply": "scripted"}]}')
    outputs = use(models="phi-3", release="2.5.0", build="cpu-only", script="script.json")
    assert outputs["base-url"] == f"{outputs['url']}/v1"
    body = b'{"model": "phi-3", "stream": false, "messages": [{"role": "user", "content": "x"}]}'
    url = f"{outputs['base-url']}/chat/completions"
    assert "scripted" in str(ask(url, body, content_type="application/json"))
    control = f"{outputs['url']}/fake-shimmy/control"
    token = {"x_fake_shimmy_control": outputs["control-token"]}
    assert ask(control, b'{"op": "totals"}', **token) == {"requests": 1}
    assert "Shimmy v2.5.0" in Path(outputs["log"]).read_text()


def test_a_server_of_the_action_asks_for_the_key_that_is_set(use: Use) -> None:
    outputs = use(api_key="0123456789abcdef")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(f"{outputs['base-url']}/models")


def test_the_action_only_puts_it_on_the_path(use: Use, tmp_path: Path) -> None:
    assert use(serve="false") == {}
    folder = (tmp_path / "GITHUB_PATH").read_text().strip()
    for name in ("fake-shimmy", "shimmy"):
        done = subprocess.run([f"{folder}/{name}", "--version"], capture_output=True, text=True)
        assert done.stdout.startswith("shimmy ")


def test_an_action_that_cannot_start_shows_why(use: Use) -> None:
    with pytest.raises(AssertionError, match=r'FAKE_SHIMMY_RELEASE is "9"'):
        use(release="9")


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", CONTAINER.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def test_the_container_file_has_known_instructions_and_copies_what_there_is() -> None:
    known = {"FROM", "COPY", "RUN", "USER", "ENV", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"}
    assert {word for word, _ in instructions()} == {*known, "ENTRYPOINT", "CMD"}
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from=build "):
            assert (ROOT / rest.split()[0]).exists()
    stages = [rest.partition(" AS ")[2] for word, rest in instructions() if word == "FROM"]
    assert stages == ["build", ""]


def test_the_first_stage_of_the_container_makes_a_file_that_runs(tmp_path: Path) -> None:
    """Its instructions, below another root."""
    root = tmp_path / "root"
    (root / "usr" / "local" / "bin").mkdir(parents=True)
    for word, rest in instructions()[: instructions().index(("FROM", "python:3.13-alpine"))]:
        if word == "COPY":
            source, target = rest.split()
            (root / target[1:]).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, root / target[1:])
        if word == "RUN":
            command = rest.replace(" /", f" {root}/").replace("python3 ", f"{sys.executable} ")
            subprocess.run(command, shell=True, check=True)
    made = root / "usr" / "local" / "bin" / "fake-shimmy"
    found = dict(instructions())
    environ = dict(pair.split("=") for pair in found["ENV"].split())
    key = {"SHIMMY_API_KEY": "0123456789abcdef"}
    port = free_port()
    arguments = [text.replace("11435", str(port)) for text in json.loads(found["CMD"])]
    assert json.loads(found["ENTRYPOINT"]) == [made.name]
    with subprocess.Popen(
        [sys.executable, made, *arguments], env={**environ, **key}, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        said = next(line for line in server.stdout if b"listens on" in line)
        server.kill()
    assert said == f"fake-shimmy listens on http://0.0.0.0:{port}\n".encode()
