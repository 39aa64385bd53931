"""The default build of 2.5.0 on pretended machines. Expected: real 2.5.0 with a software adapter
that took a model, and with one that did not; the cards are examples.
"""

from __future__ import annotations

import json

import pytest

from fake_shimmy.models import tiny_gguf
from tests.support.fake_process import drained

ADAPTERS = {
    "nvidia": "NVIDIA GeForce RTX 4090 (DiscreteGpu, backend=Vulkan)",
    "nvidia-hidden": "NVIDIA GeForce RTX 4090 (DiscreteGpu, backend=Vulkan)",
    "amd": "AMD Radeon RX 7900 XTX (RADV NAVI31) (DiscreteGpu, backend=Vulkan)",
    "apple": "Apple M2 (IntegratedGpu, backend=Metal)",
}
UNFIT = {
    "intel": ("Intel(R) Arc(TM) 140T GPU (16GB) (IntegratedGpu, backend=Vulkan)", 1024),
    "llvmpipe": ("llvmpipe (LLVM 15.0.6, 256 bits) (Cpu, backend=Gl)", 128),
}


@pytest.fixture
def airframe(make_shimmy):
    fake = make_shimmy("default")
    (fake.cwd / "models").mkdir()
    (fake.cwd / "models" / "some.gguf").write_bytes(tiny_gguf.contents())
    (fake.cwd / "models" / "bad.gguf").write_bytes(b"nonsense")
    return fake


def chat(running, name: str):
    body = {"model": name, "messages": [{"role": "user", "content": "hi"}], "stream": False}
    return running.chat(json.dumps(body).encode())


@pytest.mark.parametrize("machine", ADAPTERS)
def test_a_load_tells_the_adapter(airframe, machine):
    status, out, err = airframe.run("probe", "some", FAKE_SHIMMY_GPU=machine)
    assert status == 0
    first, *_, last = err.splitlines()
    assert first == f"[GpuRuntime] Selected adapter: {ADAPTERS[machine]}"
    assert last.startswith("[GpuRuntime] token_embd.weight: quant_type=")
    size = len(tiny_gguf.contents())
    assert (
        '[BindlessLoader] Opening GGUF: "./models/some.gguf"\n'
        f"[BindlessLoader] File size: {size} bytes (0.11 MB)\n"
        "[BindlessLoader] Multi-buffer plan: 1 chunks of 2000000000 bytes (256-aligned)\n"
    ) in out
    assert "[BindlessLoader] Upload Complete (1 buffers).\n" in out
    assert out.endswith("\nok: loaded some\n")


@pytest.mark.parametrize("machine", UNFIT)
def test_an_adapter_that_binds_too_little_refuses_each_time(airframe, machine):
    adapter, limit = UNFIT[machine]
    selected = f"[GpuRuntime] Selected adapter: {adapter}\n"
    reason = (
        f"Airframe GPU load failed: GPU storage buffer binding limit ({limit} MB) is too small "
        "for the bindless chunk size (1907 MB). Update your GPU drivers."
    )
    expected = (2, "", f"{selected}probe failed: {reason}\n")
    assert airframe.run("probe", "some", FAKE_SHIMMY_GPU=machine) == expected
    with airframe.serve(FAKE_SHIMMY_GPU=machine) as running, drained(running) as log:
        assert [chat(running, "some").status for _ in range(2)] == [502, 502]
        running.process.kill()
        assert running.process.stderr.read().decode() == selected * 2
    assert sum(reason.encode() in line for line in log) == 2


def test_the_adapter_is_told_at_each_load_until_one_succeeds(airframe):
    with airframe.serve(FAKE_SHIMMY_GPU="nvidia") as running, drained(running):
        statuses = [chat(running, name).status for name in ("bad", "some", "some", "bad")]
        running.process.kill()
        err = running.process.stderr.read().decode()
    # One runtime for all: what is loaded answers for every other model as well.
    assert statuses == [502, 200, 200, 200]
    assert err.count(f"[GpuRuntime] Selected adapter: {ADAPTERS['nvidia']}\n") == 2
    assert err.count("[KVCache] Allocating GPU buffers:\n") == 1


@pytest.mark.parametrize("flags", [["--gpu-backend", "cpu"], ["--gpu-backend", "cuda"], []])
def test_the_flag_for_a_backend_is_ignored(airframe, flags):
    told = [
        airframe.run(*flags, *command, FAKE_SHIMMY_GPU="amd")
        for command in (["gpu-info"], ["probe", "some"], ["serve", "--bind", "192.0.2.1:1"])
    ]
    assert "⚡ Airframe Engine: ✅ Enabled (WebGPU via wgpu)\n" in told[0][1]
    assert told[1][2].startswith(f"[GpuRuntime] Selected adapter: {ADAPTERS['amd']}\n")
    assert told[2][1].splitlines()[1] == "🔧 Backend: Airframe (GPU)"


@pytest.mark.parametrize(
    ("machine", "vendor"),
    [
        *(("none", None), ("llvmpipe", None), ("nvidia", "nvidia"), ("nvidia-hidden", "nvidia")),
        *(("amd", "amd"), ("intel", None), ("apple", None)),
    ],
)
def test_metrics_tell_the_vendors_tool_of_the_machine_and_not_the_path(
    make_shimmy, machine, vendor
):
    fake = make_shimmy()
    (fake.cwd / "some.gguf").write_bytes(tiny_gguf.contents())
    for name in ("nvidia-smi", "rocm-smi"):
        tool = fake.cwd / name
        tool.write_text(f"#!/bin/sh\ntouch {fake.cwd}/called\n")
        tool.chmod(0o755)
    path = f"{fake.cwd}:/usr/bin:/bin"
    with fake.serve("--model-path", "some.gguf", PATH=path, FAKE_SHIMMY_GPU=machine) as running:
        found = json.loads(running.request("GET", "/metrics").body)
    assert (found["gpu_detected"], found["gpu_vendor"]) == (vendor is not None, vendor)
    assert not (fake.cwd / "called").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "IO error: failed to fill whole buffer"),
        (b"GGU", "IO error: failed to fill whole buffer"),
        (b"nonsense", "Invalid GGUF metadata: Not a GGUF file"),
    ],
)
@pytest.mark.parametrize("machine", [None, "nvidia"])
def test_files_that_do_not_load(airframe, content, reason, machine):
    (airframe.cwd / "models" / "bad.gguf").write_bytes(content)
    pretended = {} if machine is None else {"FAKE_SHIMMY_GPU": machine}
    status, out, err = airframe.run("probe", "bad", **pretended)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1] == f"probe failed: Airframe GPU load failed: {reason}"


def test_a_file_that_is_gone_does_not_load(airframe):
    base = {"SHIMMY_BASE_GGUF": "gone.gguf", "FAKE_SHIMMY_GPU": "nvidia"}
    err = airframe.run("probe", "tinyllama-1.1b", **base)[2]
    assert err.endswith(
        "probe failed: Airframe GPU load failed: IO error: No such file or directory (os error 2)\n"
    )
