"""The models that an executable lists are read whole, whatever their names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fake_shimmy.releases import RELEASES
from pytest_shimmy.models.listing import parse, unescape
from pytest_shimmy.models.registry import ModelRegistry
from pytest_shimmy.models.summary import ShimmyModelSummary
from tests.support.model_files import (
    AWKWARD,
    HEADING,
    MEBIBYTE,
    ONE,
    TINY,
    TOTAL,
    add,
    by_id,
    is_1x,
)


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


@pytest.mark.parametrize(
    ("known", "description"),
    [
        (("7B", "Q4_K_M", 4_400_000_000, False), "7B, Q4_K_M, 4.1 GiB, discovered"),
        ((None, None, 5, True), "5 B, discovered, with a LoRA adapter"),
        ((None, None, None, False), "discovered"),
    ],
)
def test_a_description_has_what_is_known(known: tuple[Any, ...], description: str) -> None:
    parameters, quantization, size, lora = known
    model = ShimmyModelSummary("m", True, None, size, parameters, quantization, "discovered", lora)
    assert model.description == description


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


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not allow")
def test_the_short_form_has_the_same_names(shimmy: Path | None, models: Path) -> None:
    """That form says nothing else, so it is not what is read."""
    for name in AWKWARD:
        add(models / name)
    registry = ModelRegistry(shimmy, models)
    executable = registry.executable
    command = [*executable.command, "list", "--short", "--model-dirs", str(models)]
    printed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    names = list(by_id(registry))
    if is_1x(registry):
        names = sorted([*names, "phi3-lora"])
    assert printed == "".join(f"{name}\n" for name in names)


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
