"""The models that an executable lists: read whole, whatever their names, or refused with reason."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from fake_shimmy.releases import RELEASES
from pytest_shimmy import ShimmyError, ShimmyErrorCode, health, ports
from pytest_shimmy.models import command
from pytest_shimmy.models.choice import DefaultModel, default_model
from pytest_shimmy.models.listing import parse, unescape
from pytest_shimmy.models.registry import ModelRegistry
from pytest_shimmy.models.summary import ShimmyModelSummary

TINY = bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"{}"
MEBIBYTE = 1 << 20

# File names that shimmy makes names of which are hard to read back.
AWKWARD = (
    "My Model.gguf",
    "  lead.gguf",
    "trail .gguf",
    'quo"te.gguf',
    "apos'trophe.gguf",
    "back\\slash.gguf",
    "tab\there.gguf",
    "new\nline.gguf",
    "car\rriage.gguf",
    "control\x01\x7f.gguf",
    "Émile-ÀÉ.gguf",
    "combining-e\u0301.gguf",
    "zero\u200bwidth.gguf",
    "emoji😀.gguf",
    'a => "b" [1MB].gguf',
    "x\n🔍 Auto-Discovered Models:\n.gguf",
    "y\n\n✅ Total available models: 99\n.gguf",
    "z\n📋 Registered Models:\n  q => .gguf",
)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    directory = tmp_path / "models"
    directory.mkdir()
    return directory


def add(path: Path, size: int | None = None) -> Path:
    """A model file; a hole makes it as large as wanted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(TINY)
        if size is not None:
            file.truncate(size)
    return path


def by_id(registry: ModelRegistry) -> dict[str, ShimmyModelSummary]:
    listed = registry.list_local()
    assert len({model.id for model in listed}) == len(listed)
    return {model.id: model for model in listed}


def is_1x(registry: ModelRegistry) -> bool:
    return registry.executable.version.startswith("1.")


def test_a_model_is_told_in_full(shimmy: Path | None, models: Path) -> None:
    path = add(models / "Mistral-7B-Instruct.Q4_K_M.gguf", 3 * MEBIBYTE + 5)
    assert ModelRegistry(shimmy, models).list_local() == [
        ShimmyModelSummary(
            id="mistral-7b-instruct.q4-k-m",
            is_default=True,
            path=path,
            size_bytes=3 * MEBIBYTE + 5,
            parameters="7B",
            quantization="Q4_K_M",
            source="discovered",
            lora=False,
        )
    ]


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_that_the_fake_imitates_is_read(release: str, models: Path) -> None:
    for name in ("b.gguf", "a_7b.gguf", "c-q8_0.gguf"):
        add(models / name)
    listed = ModelRegistry(models_dir=models, fake_version=release).list_local()
    assert [(m.id, m.parameters, m.quantization, m.is_default) for m in listed] == [
        ("a-7b", "7B", None, True),
        ("b", None, None, False),
        ("c-q8-0", None, "Q8_0", False),
    ]


def test_no_model_is_an_empty_list(shimmy: Path | None, models: Path) -> None:
    registry = ModelRegistry(shimmy, models)
    assert registry.list_local() == []
    assert registry.default() is None
    assert registry.find("anything") is None


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not allow")
def test_awkward_names_and_paths_are_read_back(shimmy: Path | None, models: Path) -> None:
    written = {add(models / name) for name in AWKWARD}
    listed = ModelRegistry(shimmy, models).list_local()
    assert {model.path for model in listed} == written
    assert [model.id for model in listed] == sorted(model.id for model in listed)
    stems = {path.stem.replace(" ", "-").replace("_", "-").lower() for path in written}
    assert {model.id for model in listed} == stems


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no UTF-8")
def test_a_path_that_is_no_text_is_read_back(shimmy: Path | None, models: Path) -> None:
    path = add(Path(os.fsdecode(os.fsencode(models) + b"/bad\xff\xc3name.gguf")))
    (model,) = ModelRegistry(shimmy, models).list_local()
    assert model.path == path
    assert model.size_bytes == len(TINY)


def test_the_order_is_the_same_every_time(shimmy: Path | None, models: Path) -> None:
    for number in range(12):
        add(models / f"model-{number}.gguf")
    registry = ModelRegistry(shimmy, models)
    first = registry.list_local()
    assert all(registry.list_local() == first for _ in range(3))


def test_a_lora_adapter_is_told(shimmy: Path | None, models: Path) -> None:
    add(models / "phi-3-mini.gguf")
    add(models / "phi-3-mini-lora.gguf")
    add(models / "other.gguf")
    listed = by_id(ModelRegistry(shimmy, models))
    assert {name for name, model in listed.items() if model.lora} == {
        "phi-3-mini",
        "phi-3-mini-lora",
    }


def test_a_model_in_several_files_has_their_size(shimmy: Path | None, models: Path) -> None:
    shards = [add(models / "folder" / f"big-0000{n}-of-00002.gguf", MEBIBYTE + n) for n in (1, 2)]
    add(models / "folder" / "other.gguf", 7 * MEBIBYTE)
    registry = ModelRegistry(shimmy, models)
    (sharded,) = [model for model in registry.list_local() if model.path in shards]
    assert sharded.size_bytes == 2 * MEBIBYTE + 3


def test_a_shard_that_is_listed_alone_has_its_own_size(shimmy: Path | None, tmp_path: Path) -> None:
    """Where Ollama keeps its models, shimmy does not put shards together."""
    shards = [
        add(tmp_path / "ollama" / "m" / f"x-0000{n % 10}-of-00002.safetensors", n) for n in (11, 12)
    ]
    registry = ModelRegistry(shimmy, env={"OLLAMA_MODELS": str(tmp_path / "ollama")})
    alone = [model for model in registry.list_local() if model.id.startswith("ollama:")]
    assert [model.size_bytes for model in alone] in ([11], [12])
    assert {model.path for model in alone} < set(shards)


def test_of_files_that_have_one_name_one_is_listed(shimmy: Path | None, models: Path) -> None:
    paths = [add(models / folder / "model.safetensors") for folder in ("one", "two")]
    (model,) = ModelRegistry(shimmy, models).list_local()
    assert model.id == "model"
    assert model.path in paths


def test_directories_are_searched_besides_each_other(shimmy: Path | None, tmp_path: Path) -> None:
    paths = [add(tmp_path / f"dir {n}" / f"m{n}.gguf") for n in (1, 2)]
    listed = ModelRegistry(shimmy, [path.parent for path in paths]).list_local()
    assert [model.path for model in listed] == paths


def test_a_directory_with_the_separator_in_its_name_is_refused() -> None:
    with pytest.raises(ValueError, match="';'"):
        ModelRegistry(models_dir=["/a;b"])


def test_the_working_directory_is_searched_and_paths_are_absolute(
    shimmy: Path | None, models: Path
) -> None:
    path = add(models / "tiny.safetensors")
    listed = ModelRegistry(shimmy, cwd=models.parent).list_local()
    assert [(model.id, model.path) for model in listed] == [("tiny", path)]


def test_the_environment_is_changed_as_told(
    shimmy: Path | None, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(models / "tiny.safetensors")
    assert by_id(ModelRegistry(shimmy, env={"SHIMMY_MODEL_PATHS": str(models)})).keys() == {"tiny"}
    monkeypatch.setenv("SHIMMY_MODEL_PATHS", str(models))
    assert by_id(ModelRegistry(shimmy)).keys() == {"tiny"}
    assert by_id(ModelRegistry(shimmy, env={"SHIMMY_MODEL_PATHS": None})) == {}


@pytest.mark.parametrize("level", ["info", "trace", "=bogus="])
def test_log_lines_are_kept_out_of_the_list(level: str, shimmy: Path | None, models: Path) -> None:
    add(models / "tiny.safetensors")
    registry = ModelRegistry(shimmy, models, env={"RUST_LOG": level})
    assert by_id(registry).keys() == {"tiny"}


# Registered models, and the default


def test_a_registered_model_is_the_default(
    shimmy: Path | None, models: Path, tmp_path: Path
) -> None:
    add(models / "aaa.safetensors")
    base = add(tmp_path / "elsewhere" / "Mine.safetensors", 2 * MEBIBYTE)
    registry = ModelRegistry(
        shimmy, models, env={"SHIMMY_BASE_GGUF": str(base), "SHIMMY_LORA_GGUF": "x"}
    )
    name = "phi3-lora" if is_1x(registry) else "tinyllama-1.1b"
    listed = by_id(registry)
    assert listed.keys() == {"aaa", "mine", name}
    assert listed[name] == ShimmyModelSummary(
        name, True, base, 2 * MEBIBYTE, None, None, "registered", True
    )
    assert not listed["aaa"].is_default
    found = registry.default()
    assert found == DefaultModel(name, "it has the name of the model in SHIMMY_BASE_GGUF")


def test_a_registered_model_without_a_file_is_told_as_such(
    shimmy: Path | None, models: Path
) -> None:
    gone = models / "gone.gguf"
    (model,) = ModelRegistry(shimmy, env={"SHIMMY_BASE_GGUF": str(gone)}).list_local()
    assert (model.path, model.size_bytes, model.source) == (gone, None, "registered")


def test_a_registration_that_is_empty_is_no_model(shimmy: Path | None, models: Path) -> None:
    add(models / "tiny.safetensors")
    registry = ModelRegistry(shimmy, models, env={"SHIMMY_BASE_GGUF": ""})
    assert by_id(registry).keys() == {"tiny"}
    assert registry.default() == DefaultModel("tiny", "it is the only one")


@pytest.mark.parametrize("shimmy", [None, pytest.param("real", marks=pytest.mark.shimmy_real)])
def test_the_phantom_of_1x_is_no_model(
    shimmy: str | None, models: Path, request: pytest.FixtureRequest
) -> None:
    """Not even where a file of its name was found: shimmy looks for the phantom's, and fails."""
    path = None if shimmy is None else request.getfixturevalue("real_shimmy")
    registry = ModelRegistry(path, models, fake_version="1.8.1")
    if not is_1x(registry):
        pytest.skip("a 2.x has no phantom")
    assert registry.list_local() == []
    add(models / "phi3-lora.safetensors")
    assert registry.list_local() == []
    add(models / "phi3-mini.gguf")
    in_place = ModelRegistry(path, cwd=models.parent, fake_version="1.8.1")
    assert by_id(in_place)["phi3-lora"].path == models / "phi3-mini.gguf"


def test_a_model_that_has_the_phantom_s_name_is_one_on_2x(models: Path) -> None:
    add(models / "phi3-lora.safetensors")
    assert by_id(ModelRegistry(models_dir=models, fake_version="2.5.0")).keys() == {"phi3-lora"}


@pytest.mark.parametrize(
    ("ids", "version", "default"),
    [
        ([], "2.5.0", None),
        (["b", "a"], "2.5.0", ("a", "its name sorts first")),
        (["é", "z"], "2.5.0", ("z", "its name sorts first")),
        (["b"], "2.5.0", ("b", "it is the only one")),
        (["a", "tinyllama-1.1b"], "2.5.0", ("tinyllama-1.1b", None)),
        (["a", "phi3-lora"], "2.5.0", ("a", "its name sorts first")),
        (["phi3-lora"], "1.8.1", None),
        (["a", "phi3-lora"], "1.8.1", ("a", "it is the only one")),
        (["a", "tinyllama-1.1b"], "1.8.1", ("a", "its name sorts first")),
        (["a"], "unknown", ("a", "it is the only one")),
    ],
)
def test_the_default_among_names(
    ids: list[str], version: str, default: tuple[str, str | None] | None
) -> None:
    found = default_model(ids, version)
    if default is None:
        assert found is None
        return
    assert found is not None
    assert found.id == default[0]
    assert default[1] in (None, found.reason)


def test_the_phantom_is_the_default_where_it_is_real() -> None:
    found = default_model(["a", "phi3-lora"], "1.8.1", phantom_is_real=True)
    assert found is not None
    assert found.id == "phi3-lora"


# What the server says


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


# Executables that misbehave

posix = pytest.mark.skipif(sys.platform == "win32", reason="shell scripts")


@pytest.fixture
def saying(tmp_path: Path) -> Callable[..., ModelRegistry]:
    """A registry of an executable that answers ``list`` with this script."""

    def saying(script: str, **how: Any) -> ModelRegistry:
        path = tmp_path / "shimmy"
        path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec echo shimmy 2.5.0\n{script}\n')
        path.chmod(0o755)
        return ModelRegistry(path, **how)

    return saying


def refusal(registry: ModelRegistry) -> ShimmyError:
    with pytest.raises(ShimmyError) as caught:
        registry.list_local()
    assert caught.value.code is ShimmyErrorCode.LIST_FAILED
    return caught.value


HEADING = "🔍 Auto-Discovered Models:"
ONE = f'{HEADING}\n  a => "/m/a.gguf" [0MB]\n'
TOTAL = "\n✅ Total available models: 1\n"


@posix
@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("", "no list of models"),
        ("Hello, world\n", "no list of models"),
        ("{}", "no list of models"),
        (f"{HEADING}\n", "breaks off"),
        (ONE, "breaks off"),
        (f"{ONE}\n", "breaks off"),
        (f"{ONE}\n✅ Total available models: 1", "breaks off"),
        (f"{ONE}\n✅ Total available models: 2\n", "counts 2 models, but names 1"),
        (f"{ONE}  b => /m/b.gguf [0MB]\n{TOTAL}", "'  b => /m/b.gguf [0MB]'"),
        (f'{ONE}  b => "/m/b.gguf" [0GB]\n{TOTAL}', "'  b =>"),
        (f'{ONE}  b => "/m/b.gguf\n{TOTAL}', "'  b =>"),
        (f"{ONE}  b\n{TOTAL}", "'  b'"),
        (f"{ONE}thread 'main' panicked\n", "thread 'main' panicked"),
    ],
)
def test_what_is_no_list_is_refused_with_its_output(
    output: str, why: str, saying: Callable[..., ModelRegistry], tmp_path: Path
) -> None:
    (tmp_path / "output").write_text(output)
    error = refusal(saying(f"cat {shlex.quote(str(tmp_path / 'output'))}; echo dear me >&2"))
    assert why in error.message
    assert f"{tmp_path / 'shimmy'} list\nended with exit code 0." in error.message
    assert "On stderr:\n  dear me" in error.message
    assert error.details == {
        "command": [str(tmp_path / "shimmy"), "list"],
        "exit_code": 0,
        "signal": None,
        "stopped": None,
        "stdout": output,
        "stderr": "dear me\n",
    }


@posix
def test_bytes_that_are_no_text_are_refused(saying: Callable[..., ModelRegistry]) -> None:
    assert "no UTF-8" in refusal(saying("printf '\\377\\376'")).message


@posix
@pytest.mark.parametrize(
    ("ending", "ended", "details"),
    [
        ("exit 101", "exit code 101", {"exit_code": 101, "signal": None}),
        ("kill -ABRT $$", "killed by SIGABRT", {"exit_code": None, "signal": 6}),
    ],
)
def test_an_exit_code_makes_a_good_list_bad(
    ending: str,
    ended: str,
    details: dict[str, int | None],
    saying: Callable[..., ModelRegistry],
    tmp_path: Path,
) -> None:
    (tmp_path / "output").write_text(ONE + TOTAL)
    error = refusal(saying(f"cat {shlex.quote(str(tmp_path / 'output'))}; {ending}"))
    assert f"ended with {ended}." in error.message
    assert "Total available models" in error.message
    assert details.items() <= error.details.items()


@posix
def test_an_executable_that_hangs_is_stopped_with_its_children(
    saying: Callable[..., ModelRegistry], tmp_path: Path, wait_until_gone: Callable[[int], None]
) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' TERM; echo thinking; sleep 600 & echo $$ $! > {shlex.quote(str(pids))}; wait"
    error = refusal(saying(script, timeout=1.0))
    assert "had not ended after 1 s and was stopped" in error.message
    assert "thinking" in error.message
    assert error.details["stopped"]
    for pid in pids.read_text().split():
        wait_until_gone(int(pid))


@posix
def test_an_executable_that_talks_without_end_is_stopped(
    saying: Callable[..., ModelRegistry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "MAX_OUTPUT", 1 << 20)
    error = refusal(saying("exec yes"))
    assert "wrote more than 1 MiB and was stopped" in error.message
    assert len(error.message) < 1000
    assert len(error.details["stdout"]) == 4000


@posix
def test_warnings_and_what_a_wrapper_prints_do_no_harm(
    saying: Callable[..., ModelRegistry], tmp_path: Path
) -> None:
    (tmp_path / "output").write_text(f"starting container\n{ONE}{TOTAL}container is gone\n")
    registry = saying(f"echo Warning: >&2; cat {shlex.quote(str(tmp_path / 'output'))}")
    assert by_id(registry).keys() == {"a"}


@posix
def test_an_executable_that_disappears_is_named(saying: Callable[..., ModelRegistry]) -> None:
    registry = saying("true")
    Path(registry.executable.name).unlink()
    assert registry.executable.name in refusal(registry).message


def test_a_missing_executable_is_said_when_it_is_asked(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path / "gone")
    with pytest.raises(ShimmyError) as caught:
        registry.list_local()
    assert caught.value.code is ShimmyErrorCode.BINARY_NOT_FOUND


@pytest.mark.shimmy_real
def test_a_panic_of_the_real_one_is_shown(real_shimmy: Path, models: Path) -> None:
    registry = ModelRegistry(real_shimmy, models)
    if not is_1x(registry):
        pytest.skip("2.4 and later do not panic")
    add(models / "x.GGUF")
    error = refusal(registry)
    assert error.details["exit_code"] == 101
    assert "GGUF files must use Llama backend" in error.message


# Names that only a directory of Ollama's can have, where nothing is replaced


@pytest.mark.parametrize(
    "name", ["a b", 'a => b "c" [1MB]', "a\n\n✅ Total available models: 9", f"a\n{HEADING}\n  b"]
)
def test_raw_names_are_read_back(name: str) -> None:
    text = f'{HEADING}\n  {name} => "/m/x" [7MB]\n  z => "/m/z" [0MB]\n'
    entries = parse(f"{text}\n✅ Total available models: 2\n")
    assert [(entry.name, entry.path, entry.mebibytes) for entry in entries] == [
        (name, "/m/x", 7),
        ("z", "/m/z", 0),
    ]


def test_both_blocks_are_read() -> None:
    text = f'📋 Registered Models:\n  t => "./x.gguf"\n\n{ONE}{TOTAL.replace("1", "2")}'
    assert [(entry.name, entry.source) for entry in parse(text)] == [
        ("t", "registered"),
        ("a", "discovered"),
    ]


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        (r"a\"b\\c", 'a"b\\c'),
        (r"\n\r\t\0\'", "\n\r\t\0'"),
        (r"e\u{301}\u{200b}\u{1f600}", "e\u0301\u200b\U0001f600"),
        (r"\\u{301}", "\\u{301}"),
        (r"\\n", "\\n"),
    ],
)
def test_paths_are_unescaped(escaped: str, plain: str) -> None:
    assert unescape(escaped) == plain
