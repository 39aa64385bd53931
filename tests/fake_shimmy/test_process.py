"""The serving process: banner, address, signals. Expected text: real 2.5.0."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.support.fake_process import TOY_MODEL, free_port

BIND_HELP = """
💡 Valid bind address examples:
  auto                    # Auto-allocate (default)
  127.0.0.1:11435        # Specific address
  0.0.0.0:8080           # All interfaces

🔧 Environment variable: SHIMMY_BIND_ADDRESS=127.0.0.1:11435
"""
READY = """✅ Ready to serve requests
   • POST /api/generate (streaming + non-streaming)
   • GET  /health (health check + metrics)
   • GET  /v1/models (OpenAI-compatible)
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "Tiny_1.safetensors"
    path.write_bytes(TOY_MODEL)
    return path


def banner_on_a_taken_port(shimmy, *arguments: str, **extra: str) -> str:
    """The banner; the taken port ends the process right after it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        status, out, err = shimmy.run("serve", "--bind", f"127.0.0.1:{port}", *arguments, **extra)
    assert (status, err) == (1, "Error: Address already in use (os error 98)\n")
    return out.replace(str(port), "PORT")


@pytest.mark.usefixtures("model")
def test_the_banner_comes_before_the_bind(shimmy):
    assert banner_on_a_taken_port(shimmy) == (
        "🎯 Shimmy v2.5.0\n📦 Models: 0 available\n🚀 Starting server on 127.0.0.1:PORT\n"
        "📦 Models: 1 available\n" + READY
    )


@pytest.mark.usefixtures("model")
def test_the_banner_of_a_default_build(make_shimmy):
    fake = make_shimmy("default")
    assert banner_on_a_taken_port(fake, SHIMMY_BASE_GGUF="b.gguf") == (
        "🎯 Shimmy v2.5.0\n🔧 Backend: Airframe (GPU)\n📦 Models: 1 available\n"
        "💡 Tip: add --kv-quant int4 to enable TurboShimmy (INT4 KV, ~60% less VRAM)\n"
        "🚀 Starting server on 127.0.0.1:PORT\n📦 Models: 2 available\n" + READY
    )
    assert banner_on_a_taken_port(fake, "--kv-quant", "int4").startswith(
        "🎯 Shimmy v2.5.0\n⚡ Backend: Airframe (GPU) + TurboShimmy INT4 KV — ~60% less VRAM\n"
        "📦 Models: 0 available\n"
        "💡 TurboShimmy active: enable with --kv-quant int4 (already on)\n"
    )
    assert "Backend" not in banner_on_a_taken_port(fake, "--legacy")


def test_a_model_path_is_told_first(shimmy, model):
    out = banner_on_a_taken_port(shimmy, "--model-path", str(model))
    assert out.startswith(f"🎯 Direct model loaded: Tiny_1 -> {model}\n🎯 Shimmy v2.5.0\n")
    assert "📦 Models: 2 available\n" in out


def test_a_missing_model_path_ends_it(shimmy):
    assert shimmy.run("serve", "--model-path", "nope.gguf") == (
        1,
        "",
        "❌ Model file not found: nope.gguf\n",
    )


def test_without_models_it_ends(shimmy):
    port = free_port()
    assert shimmy.run("serve", "--bind", f"127.0.0.1:{port}") == (
        1,
        f"🎯 Shimmy v2.5.0\n📦 Models: 0 available\n🚀 Starting server on 127.0.0.1:{port}\n",
        "❌ No models available. Please:\n   • Set SHIMMY_BASE_GGUF environment variable, or\n"
        "   • Place .gguf files in ./models/ directory, or\n"
        "   • Place .gguf files in ~/.cache/huggingface/hub/\n",
    )


@pytest.mark.parametrize(
    "bind",
    ["localhost:80", ":8080", "127.0.0.1", "127.0.0.1:65536", "127.0.0.01:80", "[::1", "", "Auto"],
)
def test_a_bind_address_that_is_none(shimmy, bind):
    error = f"❌ Failed to resolve bind address '{bind}': Invalid bind address '{bind}'"
    assert shimmy.run("serve", f"--bind={bind}") == (
        1,
        "",
        f"{error}: invalid socket address syntax\n{BIND_HELP}",
    )


def test_the_variable_counts_for_auto_only(shimmy):
    assert shimmy.run("serve", SHIMMY_BIND_ADDRESS="foo") == (
        1,
        "",
        "❌ Failed to resolve bind address 'auto': Invalid SHIMMY_BIND_ADDRESS 'foo': "
        f"invalid socket address syntax\n{BIND_HELP}",
    )
    out = shimmy.run("serve", SHIMMY_BIND_ADDRESS="[::1]:0007")[1]
    assert out.endswith("🚀 Starting server on [::1]:7\n")
    out = shimmy.run("serve", "--bind", "127.0.0.1:9", SHIMMY_BIND_ADDRESS="foo")[1]
    assert out.endswith("🚀 Starting server on 127.0.0.1:9\n")


@pytest.mark.parametrize(
    ("bind", "shown"),
    [
        ("[2001:DB8::1]:7", "[2001:db8::1]:7"),
        ("[::1.2.3.4]:1", "[::102:304]:1"),
        ("[::ffff:1.2.3.4]:1", "[::ffff:1.2.3.4]:1"),
        ("[1:0:0:2:0:0:0:3]:1", "[1:0:0:2::3]:1"),
        ("[fe80::1%5]:1", "[fe80::1%5]:1"),
        ("0.0.0.0:0", "0.0.0.0:0"),
    ],
)
def test_how_an_address_is_shown(shimmy, bind, shown):
    out = shimmy.run("serve", "--bind", bind)[1]
    assert out.endswith(f"🚀 Starting server on {shown}\n")


def test_auto_takes_a_free_port_of_its_range(shimmy):
    status, out, error = shimmy.run("serve")
    assert out, f"exit status {status}: {error}"
    port = int(out.rpartition(":")[2])
    assert 11435 <= port <= 11535 or port > 30000


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1"])
def test_it_dies_of_the_signal_itself_without_a_word(shimmy, name):
    with shimmy.serve() as running, running.connect() as sock:
        sock.sendall(b"GET /health HT")
        running.process.send_signal(signal.Signals[name])
        assert running.process.wait(10) == -signal.Signals[name]
        assert running.process.stderr is not None
        assert running.process.stderr.read() == b""


@pytest.mark.usefixtures("model")
def test_signals_that_the_parent_ignored_stay_ignored(shimmy, make_shimmy):
    ignoring = ["sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh", *shimmy.command]
    with make_shimmy("cpu-only", ignoring).serve() as running:
        for number in (signal.SIGINT, signal.SIGHUP):
            running.process.send_signal(number)
            assert running.request("GET", "/health").status == 200
        running.process.terminate()
        assert running.process.wait(10) == -signal.SIGTERM


@pytest.mark.usefixtures("model")
def test_the_port_is_free_again_at_once(shimmy):
    with shimmy.serve() as running:
        assert running.request("GET", "/health").status == 200
        port = running.port
        running.process.terminate()
        running.process.wait(10)
    process = shimmy.start("serve", "--bind", f"127.0.0.1:{port}")
    try:
        assert process.stdout is not None
        while b"OpenAI-compatible" not in process.stdout.readline():
            assert process.poll() is None
    finally:
        process.kill()
        _, err = process.communicate()
    assert err == b""


@pytest.mark.slow
@pytest.mark.usefixtures("model")
def test_an_unread_stdout_stops_the_server(shimmy):
    bad = b'{"model":"x","messages":[{"role":"user","content":"u"}]}'
    (shimmy.cwd / "models" / "x.gguf").write_bytes(b"")
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(bad), bad)
    )
    with shimmy.serve() as running, running.connect() as sock:
        sock.settimeout(1)
        answers = 0
        try:
            for _ in range(2000):
                sock.sendall(request)
                assert sock.recv(4096).startswith(b"HTTP/1.1 502 Bad Gateway")
                answers += 1
        except TimeoutError:
            pass
        assert 100 < answers < 1000
        assert running.process.stdout is not None
        os.read(running.process.stdout.fileno(), 65536)
        sock.settimeout(10)
        assert sock.recv(4096).startswith(b"HTTP/1.1 502 Bad Gateway")


@pytest.mark.usefixtures("model")
def test_garbage_is_collected_while_it_serves(shimmy):
    program = (
        "import gc, sys\n"
        "from fake_shimmy.__main__ import main\n"
        "from fake_shimmy.serving import accept\n"
        "accept.serve = lambda *_: print('collected:', gc.isenabled(), file=sys.stderr)\n"
        "main()\n"
    )
    command = [sys.executable, "-c", program, "serve", "--bind", f"127.0.0.1:{free_port()}"]
    environ = shimmy.environ({})
    done = subprocess.run(command, env=environ, cwd=shimmy.cwd, capture_output=True, check=True)
    assert done.stderr == b"collected: True\n"
