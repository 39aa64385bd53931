"""A model that is missing is brought by its handler: once, whole, and only if shimmy takes it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode
from pytest_shimmy.models.downloads import from_url
from pytest_shimmy.models.registry import ModelRegistry
from pytest_shimmy.models.summary import ShimmyModelSummary
from tests.programs.fileserver import FileServer, cut, status

pytestmark = pytest.mark.slow

FETCHER = Path(__file__).parents[2] / "programs" / "fetcher.py"

TINY = bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"{}"
BROKEN = b"no model"


@pytest.fixture(autouse=True)
def _own_runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(tmp_path / "runtime"))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def registry(shimmy: Path | None, models: Path) -> ModelRegistry:
    """Of the fake, or of the real executable where this run has one."""
    return ModelRegistry(shimmy, models)


class Handler:
    """A download handler that writes these files, and remembers how it was called."""

    def __init__(self, **files: bytes) -> None:
        self.files = {name.replace("__", "."): data for name, data in files.items()}
        self.calls: list[tuple[str, Path]] = []

    def __call__(self, model_id: str, target: Path) -> None:
        self.calls.append((model_id, target))
        for name, data in self.files.items():
            (target / name).parent.mkdir(exist_ok=True)
            (target / name).write_bytes(data)


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below `directory`."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def refusal(
    registry: ModelRegistry,
    download: Callable[[str, Path], None],
    model_id: str = "tiny",
    code: ShimmyErrorCode = ShimmyErrorCode.DOWNLOAD_FAILED,
    **how: bool,
) -> ShimmyError:
    with pytest.raises(ShimmyError) as caught:
        registry.ensure_default(model_id, download, **how)  # type: ignore[arg-type]
    assert caught.value.code is code
    return caught.value


def test_a_model_that_is_there_is_left_alone(registry: ModelRegistry, models: Path) -> None:
    models.mkdir()
    (models / "tiny.safetensors").write_bytes(TINY)
    handler = Handler()
    model = registry.ensure_default("tiny", handler)
    assert (model.id, model.path) == ("tiny", models / "tiny.safetensors")
    assert handler.calls == []
    assert tree(models.parent) == {"models/tiny.safetensors": TINY}


def test_a_missing_model_is_downloaded(registry: ModelRegistry, models: Path) -> None:
    handler = Handler(tiny__safetensors=TINY)
    model = registry.ensure_default("tiny", handler)
    assert model.path == models / "tiny.safetensors"
    assert model.is_default
    assert [name for name, _ in handler.calls] == ["tiny"]
    assert tree(models) == {"tiny.safetensors": TINY}
    assert registry.ensure_default("tiny", handler) == model
    assert len(handler.calls) == 1


def test_a_deleted_model_is_downloaded_again(registry: ModelRegistry) -> None:
    handler = Handler(tiny__safetensors=TINY)
    path = registry.ensure_default("tiny", handler).path
    assert path is not None
    path.unlink()
    registry.ensure_default("tiny", handler)
    assert len(handler.calls) == 2


def test_while_it_is_written_shimmy_sees_none_of_it(registry: ModelRegistry, models: Path) -> None:
    seen = []

    def download(_model_id: str, target: Path) -> None:
        (target / "tiny.safetensors").write_bytes(TINY)
        (target / "sub").mkdir()
        (target / "sub" / "other.gguf").write_bytes(b"GGUF")
        assert target.is_relative_to(models)
        seen.append(registry.list_local())

    registry.ensure_default("tiny", download)
    assert seen == [[]]
    assert tree(models).keys() == {"tiny.safetensors", "sub/other.gguf"}


def test_what_lies_beside_it_stays(registry: ModelRegistry, models: Path) -> None:
    (models / "sub").mkdir(parents=True)
    (models / "sub" / "mine.gguf").write_bytes(b"mine")
    handler = Handler(**{"sub/tiny__safetensors": TINY, "sub/config__json": b"{}"})
    registry.ensure_default("tiny", handler)
    assert tree(models) == {
        "sub/mine.gguf": b"mine",
        "sub/tiny.safetensors": TINY,
        "sub/config.json": b"{}",
    }


def test_a_model_can_go_to_another_directory(shimmy: Path | None, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    registry = ModelRegistry(shimmy, [first, second])
    model = registry.ensure_default("tiny", Handler(tiny__safetensors=TINY), models_dir=second)
    assert model.path == second / "tiny.safetensors"
    assert not first.exists()


def test_without_a_directory_it_goes_to_shimmy_s_own(shimmy: Path | None, tmp_path: Path) -> None:
    registry = ModelRegistry(shimmy, env={"HOME": str(tmp_path / "me")})
    model = registry.ensure_default("tiny", Handler(tiny__safetensors=TINY))
    assert model.path == tmp_path / "me/.local/share/shimmy/models/tiny.safetensors"


def test_a_registered_file_that_is_missing_is_brought_to_its_place(
    shimmy: Path | None, tmp_path: Path
) -> None:
    base = tmp_path / "base" / "file.safetensors"
    registry = ModelRegistry(shimmy, env={"SHIMMY_BASE_GGUF": str(base)})
    (name,) = [model.id for model in registry.list_local()]
    error = refusal(registry, Handler(other__safetensors=TINY), name)
    assert f"shimmy expects it at {base}" in error.message
    assert not base.parent.exists()
    model = registry.ensure_default(name, Handler(file__safetensors=TINY))
    assert (model.path, model.source) == (base, "registered")


# Failures leave nothing


def test_a_handler_that_raises_is_the_cause(registry: ModelRegistry, models: Path) -> None:
    def download(_model_id: str, target: Path) -> None:
        (target / "tiny.safetensors").write_bytes(TINY[:5])
        raise LookupError("no such model in the shop")

    error = refusal(registry, download)
    assert "LookupError: no such model in the shop" in error.message
    assert isinstance(error.__cause__, LookupError)
    assert error.details["model"] == "tiny"
    assert not models.exists()


def test_an_error_of_ours_comes_out_as_it_is(registry: ModelRegistry, models: Path) -> None:
    def download(_model_id: str, _target: Path) -> None:
        raise ShimmyError(ShimmyErrorCode.CLIENT_MISSING, "install it")

    refusal(registry, download, code=ShimmyErrorCode.CLIENT_MISSING)
    assert not models.exists()


def test_a_handler_that_writes_nothing_is_told(registry: ModelRegistry, models: Path) -> None:
    assert "has written nothing" in refusal(registry, Handler()).message
    assert not models.exists()


def test_a_file_that_shimmy_calls_otherwise_is_not_kept(
    registry: ModelRegistry, models: Path
) -> None:
    error = refusal(registry, Handler(Other_Name__safetensors=TINY))
    assert "brought Other_Name.safetensors" in error.message
    assert "it lists: 'other-name'" in error.message
    assert "'-' for '_'" in error.message
    assert error.details["listed"] == ["other-name"]
    assert not models.exists()


def test_a_directory_that_shimmy_does_not_search_is_told(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    with pytest.raises(ShimmyError) as caught:
        registry.ensure_default(
            "tiny", Handler(tiny__safetensors=TINY), models_dir=tmp_path / "elsewhere"
        )
    assert "it lists: nothing" in caught.value.message
    assert "models_dir" in caught.value.message
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_that_cannot_be_written(registry: ModelRegistry, models: Path) -> None:
    models.write_text("a file")
    error = refusal(registry, Handler(tiny__safetensors=TINY))
    assert f"{models} cannot be written" in error.message
    assert models.read_text() == "a file"


def test_an_interrupted_handler_leaves_nothing(registry: ModelRegistry, models: Path) -> None:
    def download(_model_id: str, target: Path) -> None:
        (target / "tiny.safetensors").write_bytes(TINY[:5])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        registry.ensure_default("tiny", download)
    assert not models.exists()


def test_an_interrupted_look_at_the_result_takes_it_back(models: Path) -> None:
    class Interrupted(ModelRegistry):
        looks = 0

        def find(self, model_id: str) -> ShimmyModelSummary | None:
            self.looks += 1
            if (models / "tiny.safetensors").exists():
                raise KeyboardInterrupt
            return super().find(model_id)

    registry = Interrupted(models_dir=models)
    with pytest.raises(KeyboardInterrupt):
        registry.ensure_default("tiny", Handler(tiny__safetensors=TINY))
    assert registry.looks == 3
    assert not models.exists()


def test_what_a_killed_process_left_is_cleared(registry: ModelRegistry, models: Path) -> None:
    died = subprocess.run([sys.executable, FETCHER, "die", "tiny", models], check=False)
    assert died.returncode == 9
    assert [path.rpartition("/")[2] for path in tree(models)] == ["other.gguf", "tiny.gguf"]
    seen: list[list[str]] = []

    def download(_model_id: str, target: Path) -> None:
        seen.append(sorted(path.name for path in target.iterdir()))
        (target / "tiny.safetensors").write_bytes(TINY)

    registry.ensure_default("tiny", download)
    assert seen == [[]]
    assert tree(models) == {"tiny.safetensors": TINY}


# Loading


@pytest.fixture
def cpu(shimmy: Path | None, models: Path) -> ModelRegistry:
    """Of an executable that loads SafeTensors."""
    registry = ModelRegistry(shimmy, models, env={"FAKE_SHIMMY_BUILD": "cpu-only"})
    (models / "probed").mkdir(parents=True)
    probe = models / "probed" / "probe.safetensors"
    probe.write_bytes(TINY)
    if registry.probe("probe", 60).exit.code != 0:
        pytest.skip("this build loads no SafeTensors")
    probe.unlink()
    probe.parent.rmdir()
    models.rmdir()
    return registry


def test_a_model_that_loads_is_left_alone(cpu: ModelRegistry, models: Path) -> None:
    models.mkdir()
    (models / "tiny.safetensors").write_bytes(TINY)
    handler = Handler()
    cpu.ensure_default("tiny", handler, check=True)
    assert handler.calls == []


def test_a_model_that_does_not_load_is_replaced(cpu: ModelRegistry, models: Path) -> None:
    models.mkdir()
    (models / "tiny.safetensors").write_bytes(BROKEN)
    handler = Handler(tiny__safetensors=TINY)
    assert cpu.ensure_default("tiny", handler).size_bytes == len(BROKEN)
    assert cpu.ensure_default("tiny", handler, check=True).size_bytes == len(TINY)
    assert tree(models) == {"tiny.safetensors": TINY}


def test_a_download_that_does_not_load_changes_nothing(cpu: ModelRegistry, models: Path) -> None:
    error = refusal(cpu, Handler(tiny__safetensors=BROKEN), check=True)
    assert "does not load" in error.message
    assert "probe failed: HeaderTooLarge" in error.message
    assert not models.exists()
    models.mkdir()
    (models / "tiny.safetensors").write_bytes(b"was broken before")
    refusal(cpu, Handler(tiny__safetensors=BROKEN), check=True)
    assert tree(models) == {"tiny.safetensors": b"was broken before"}


def test_a_name_that_looks_like_an_option_is_loaded(cpu: ModelRegistry, models: Path) -> None:
    handler = Handler(**{"  lead__safetensors": TINY})
    assert cpu.ensure_default("--lead", handler, check=True).size_bytes == len(TINY)


def test_a_build_that_cannot_load_such_files_does_not_download_them_again(
    models: Path, shimmy: Path | None
) -> None:
    """A CPU-only build and GGUF."""
    registry = ModelRegistry(shimmy, models, env={"FAKE_SHIMMY_BUILD": "cpu-only"})
    if shimmy is not None and registry.executable.build().engine != "adapter":
        pytest.skip("this build has another engine")
    handler = Handler(tiny__gguf=b"GGUF")
    for _ in range(2):
        refusal(registry, handler, code=ShimmyErrorCode.UNSUPPORTED_ACCEL, check=True)
    assert len(handler.calls) == 1
    assert tree(models) == {"tiny.gguf": b"GGUF"}


# Many at once


def test_of_many_processes_one_downloads(models: Path) -> None:
    others: list[subprocess.Popen[str]] = []

    def download(_model_id: str, target: Path) -> None:
        for _ in range(4):
            others.append(
                subprocess.Popen(
                    [sys.executable, FETCHER, "ensure", "tiny", models],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        for process in others:  # each of them has missed it before it is there
            assert process.stdout is not None
            assert process.stdout.readline() == "False\n"
        (target / "tiny.safetensors").write_bytes(TINY)

    try:
        ModelRegistry(models_dir=models).ensure_default("tiny", download)
        answers = {(*process.communicate(), process.returncode) for process in others}
    finally:
        for process in others:
            process.kill()
            process.wait()
    assert answers == {("True\n", "", 0)}
    assert tree(models) == {"tiny.safetensors": TINY}


def test_waiting_for_another_has_an_end(registry: ModelRegistry) -> None:
    inner: list[ShimmyError] = []

    def download(_model_id: str, target: Path) -> None:
        with pytest.raises(ShimmyError) as caught:
            registry.ensure_default("tiny", Handler(), lock_timeout=0)
        inner.append(caught.value)
        (target / "tiny.safetensors").write_bytes(TINY)

    registry.ensure_default("tiny", download)
    assert inner[0].code is ShimmyErrorCode.LOCK_TIMEOUT
    assert "the model 'tiny'" in inner[0].message


def test_different_models_do_not_wait_for_each_other(registry: ModelRegistry) -> None:
    def download(_model_id: str, target: Path) -> None:
        registry.ensure_default("b", Handler(b__safetensors=TINY), lock_timeout=0)
        (target / "a.safetensors").write_bytes(TINY)

    registry.ensure_default("a", download)
    assert {model.id for model in registry.list_local()} == {"a", "b"}


# With a URL


def test_a_url_brings_a_model(registry: ModelRegistry, models: Path) -> None:
    with FileServer(TINY) as files:
        download = from_url(f"{files.base}/tiny.safetensors", sha256=files.sha256)
        registry.ensure_default("tiny", download)
    assert tree(models) == {"tiny.safetensors": TINY}


def test_a_url_that_fails_leaves_only_what_can_be_resumed(
    registry: ModelRegistry, models: Path
) -> None:
    content = TINY + bytes(500_000)
    with FileServer(content) as files:
        download = from_url(f"{files.base}/tiny.safetensors", retries=1)
        files.answers = [status(404)]
        refusal(registry, download)
        assert not models.exists()
        files.answers = [cut(300_000), status(404)]
        error = refusal(registry, download)
        assert registry.list_local() == []
        assert error.details["resumable"] > 0
        assert {Path(name).suffix for name in tree(models)} == {".part", ".json"}
        registry.ensure_default("tiny", download)
        assert files.ranges[-1] == f"bytes={error.details['resumable']}-"
    assert tree(models) == {"tiny.safetensors": content}
