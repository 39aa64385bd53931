"""From options to a server that is proved healthy and ours."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from pathlib import Path

import pytest

from pytest_shimmy import ShimmyProcessDefaults, ShimmyProcessManager, ShimmyProcessOptions
from pytest_shimmy.events import Ready, Starting
from pytest_shimmy.supervisor import ports
from tests.support.manager_events import LONG, Pretend

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts")


def test_brings_up_a_server_that_answers(
    manager: ShimmyProcessManager, shimmy: Path | None, models_dir: Path
) -> None:
    manager.start(ShimmyProcessOptions(shimmy_path=shimmy, models_dir=models_dir))
    manager.ensure_ready()
    assert manager.state == "ready"
    assert manager.pid is not None
    assert manager.port in ShimmyProcessDefaults.port_range
    connection = http.client.HTTPConnection("127.0.0.1", manager.port or 0, timeout=LONG)
    connection.request("GET", "/v1/models")
    assert [model["id"] for model in json.load(connection.getresponse())["data"]] == ["tiny"]
    connection.request("GET", "/health")
    assert json.load(connection.getresponse())["version"] == manager.version
    connection.close()


def test_serves_a_model_file_under_its_own_name(
    manager: ShimmyProcessManager, shimmy: Path | None, models_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "Mine.safetensors"
    file.write_bytes((models_dir / "tiny.safetensors").read_bytes())
    manager.start(ShimmyProcessOptions(shimmy_path=shimmy, model_path=file, cwd=tmp_path))
    manager.ensure_ready()
    connection = http.client.HTTPConnection("127.0.0.1", manager.port or 0, timeout=LONG)
    connection.request("GET", "/v1/models")
    assert "Mine" in {model["id"] for model in json.load(connection.getresponse())["data"]}
    connection.close()


def test_the_working_directory_is_searched_for_models(
    manager: ShimmyProcessManager, shimmy: Path | None, models_dir: Path
) -> None:
    manager.start(ShimmyProcessOptions(shimmy_path=shimmy, cwd=models_dir.parent))
    manager.ensure_ready()


def test_is_told_an_ip_address_and_a_port_of_its_own(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    seen: list[Starting] = []
    manager.on("starting", seen.append)
    manager.start(pretend(["serve"], args=["--ctx", "512"], models_dir=["/a", "/b"]))
    manager.ensure_ready()
    ((pid, port, command),) = [(event.pid, event.port, event.command) for event in seen]
    assert port == manager.port != 0
    assert pid == manager.pid
    assert command[1:] == (
        *("serve", "--bind", f"127.0.0.1:{port}", "--model-dirs", "/a;/b", "--ctx", "512"),
    )


def test_the_environment_reaches_the_server(
    manager: ShimmyProcessManager, monkeypatch: pytest.MonkeyPatch, models_dir: Path
) -> None:
    monkeypatch.setenv("SHIMMY_MODEL_PATHS", "/nowhere")
    manager.start(ShimmyProcessOptions(env={"SHIMMY_MODEL_PATHS": str(models_dir)}))
    manager.ensure_ready()


def test_the_version_is_the_executable_s_where_the_server_does_not_say(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    ready: list[Ready] = []
    manager.on("ready", ready.append)
    manager.start(pretend(["serve", {"service": "shimmy"}]))
    manager.ensure_ready()
    assert manager.version == "2.5.0"
    manager.stop()
    assert [event.version for event in ready] == ["2.5.0"]


def test_the_fake_imitates_the_release_that_was_asked_for(
    manager: ShimmyProcessManager, models_dir: Path
) -> None:
    from fake_shimmy.releases import RELEASES

    for release in RELEASES:
        manager.start(ShimmyProcessOptions(fake_version=release, models_dir=models_dir))
        manager.ensure_ready()
        assert manager.version == release
        manager.stop()


def test_a_preferred_port_is_tried_first(manager: ShimmyProcessManager, pretend: Pretend) -> None:
    with ports.lease() as lease:
        port = lease.port
    manager.start(pretend(["serve"], preferred_port=port))
    manager.ensure_ready()
    assert manager.port == port


@pytest.mark.usefixtures("ipv6")
def test_ipv6_works_where_there_is_ipv6(manager: ShimmyProcessManager, models_dir: Path) -> None:
    manager.start(ShimmyProcessOptions(host="::1", models_dir=models_dir))
    manager.ensure_ready()
    socket.create_connection(("::1", manager.port or 0), LONG).close()
