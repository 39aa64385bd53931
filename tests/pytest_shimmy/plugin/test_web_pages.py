"""A page of another origin in a real browser: refused by default, let in where its origin is set.

Needs Chromium (Debian: chromium); skipped where there is none.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pytest_shimmy.executable.dialect import READS_ACCESS, numbers
from pytest_shimmy.executable.identify import identify
from tests.support.consumer_suite import Run

pytestmark = pytest.mark.slow

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)

PAGE = """<!doctype html><title>page</title><p id="said">nothing yet</p><script>
const asked = new URLSearchParams(location.search).get("ask")
fetch(asked + "/v1/models")
  .then(answer => answer.json())
  .then(body => { document.getElementById("said").textContent = "models: " + body.object })
  .catch(error => { document.getElementById("said").textContent = "refused: " + error.name })
</script>"""

SUITE = """
import subprocess

ORIGIN, CHROMIUM = {origin!r}, {chromium!r}

def shown(server, profile):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
               f"--user-data-dir={{profile}}", "--virtual-time-budget=10000",
               f"{{ORIGIN}}/?ask={{server.url}}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout

def test_refused_by_default(make_shimmy_server, tmp_path):
    assert "refused: TypeError" in shown(make_shimmy_server(), tmp_path)

def test_allowed_where_its_origin_is_set(make_shimmy_server, tmp_path):
    server = make_shimmy_server(env={{"SHIMMY_ALLOWED_ORIGINS": ORIGIN}})
    assert "models: list" in shown(server, tmp_path)
"""


@pytest.fixture
def origin() -> Iterator[str]:
    """Where the page comes from."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A browser that ends resets connections that it has opened and not used."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.shimmy_real)])
def arguments(request: pytest.FixtureRequest, models_dir: Path) -> list[str]:
    """For a server of a release that looks at origins."""
    if request.param == "fake":
        version, found = "2.6.5", ["--shimmy-fake-version=2.6.5"]
    else:
        path = request.getfixturevalue("real_shimmy")
        version = identify(str(path)).version
        found = [f"--shimmy-path={path}", f"--shimmy-models-dir={models_dir}"]
    if numbers(version) < READS_ACCESS:
        pytest.skip(f"shimmy {version} lets every origin in; 2.6.5 does not")
    return found


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (Debian: apt-get install chromium)")
def test_a_browser_is_refused_by_default_and_let_in_where_its_origin_is_set(
    pytester: pytest.Pytester, run: Run, arguments: list[str], origin: str
) -> None:
    pytester.makepyfile(SUITE.format(origin=origin, chromium=CHROMIUM))
    run(*arguments).assert_outcomes(passed=2)
