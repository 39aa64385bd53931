"""What a real executable lists is what its server says."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from pytest_shimmy.models.registry import ModelRegistry
from pytest_shimmy.supervisor import health, ports
from tests.support.model_files import (
    AWKWARD,
    MEBIBYTE,
    add,
    by_id,
    is_1x,
)


@contextlib.contextmanager
def serving(shimmy: Path, models: Path, **env: str) -> Iterator[str]:
    with ports.lease() as lease:
        server = subprocess.Popen(
            [shimmy, "serve", "--bind", f"127.0.0.1:{lease.port}", "--model-dirs", models],
            env={**os.environ, **env},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not health.probe("127.0.0.1", lease.port, 1.0).healthy:
                assert server.poll() is None
            yield f"http://127.0.0.1:{lease.port}"
        finally:
            server.kill()
            server.wait()


def manifest(directory: Path, name: str, size: int) -> None:
    """A model as Ollama keeps it, whose blob is smaller than its manifest says."""
    digest = "a" * 64
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"}
    path = directory / "manifests" / name
    path.parent.mkdir(parents=True)
    config = {"mediaType": "c", "digest": f"sha256:{digest}", "size": 1}
    content = {"schemaVersion": 2, "mediaType": "x", "config": config}
    path.write_text(json.dumps({**content, "layers": [{**layer, "size": size}]}))
    blob = directory / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir()
    blob.write_bytes(b"GGUF")


@pytest.mark.shimmy_real
@pytest.mark.parametrize("registered", [False, True])
def test_a_real_server_says_the_same(
    registered: bool, real_shimmy: Path, models: Path, tmp_path: Path
) -> None:
    for name in AWKWARD:
        add(models / name)
    for number in (1, 2):
        add(models / "shards" / f"big-0000{number}-of-00002.gguf", MEBIBYTE + number)
    add(models / "Llama-3.2-3B-Instruct-Q8_0.gguf", 5 * MEBIBYTE + 7)
    add(models / "phi-3-mini.gguf")
    add(models / "phi-3-mini-lora.gguf")
    add(Path(os.fsdecode(os.fsencode(models) + b"/bad\xff.gguf")))
    manifest(tmp_path / "ollama", 'lib/of => "z" [1MB] me/my model', 7 * MEBIBYTE)
    env = {"OLLAMA_MODELS": str(tmp_path / "ollama")}
    if registered:
        env["SHIMMY_BASE_GGUF"] = str(add(tmp_path / "base" / "m.safetensors", MEBIBYTE))
    registry = ModelRegistry(real_shimmy, models, env=env)
    listed = by_id(registry)
    with serving(real_shimmy, models, **env) as url:
        ids = [model["id"] for model in requests.get(f"{url}/v1/models", timeout=10).json()["data"]]
        told = requests.get(f"{url}/api/models", timeout=10).json()["models"]
    phantom = {"phi3-lora"} if is_1x(registry) and not registered else set()
    assert list(listed) == [id_ for id_ in ids if id_ not in phantom]
    assert len(listed) > len(AWKWARD) + 4
    exact = {model["name"]: model for model in told if model["source"] == "discovered"}
    for name, model in exact.items():
        assert listed[name].parameters == model["parameter_count"]
        if listed[name].source == "discovered":
            assert listed[name].size_bytes == model["size_bytes"]
    default = registry.default()
    assert default is not None
    assert listed[default.id].is_default
    assert sum(model.is_default for model in listed.values()) == 1
