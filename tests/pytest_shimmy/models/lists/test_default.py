"""Which model is the default and why; and the one that 1.x only pretends to have."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_shimmy.models.default_model import DefaultModel, default_model
from pytest_shimmy.models.registry import ModelRegistry
from pytest_shimmy.models.summary import ShimmyModelSummary
from tests.support.model_files import (
    MEBIBYTE,
    add,
    by_id,
    is_1x,
)


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


def test_of_a_registered_and_a_discovered_model_of_one_name_the_registered_one_counts(
    shimmy: Path | None, models: Path, tmp_path: Path
) -> None:
    base = add(tmp_path / "elsewhere" / "mine.safetensors")
    registry = ModelRegistry(shimmy, models, env={"SHIMMY_BASE_GGUF": str(base)})
    name = "phi3-lora" if is_1x(registry) else "tinyllama-1.1b"
    add(models / f"{name}.safetensors")
    listed = by_id(registry)
    assert listed.keys() == {name, "mine"}
    assert (listed[name].path, listed[name].source) == (base, "registered")


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
