"""Who imports whom, from the parsed source; and what a run pays that never asks for a server."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_shimmy
from pytest_shimmy.plugin import entry, hooks
from tests.support.architecture import Import, arrows, circles, folder, imports

OURS = Path(pytest_shimmy.__file__).parent

READ_PYTESTS_CONFIGURATION = {"commands.project"}
"""The command line reads the settings that pytest would."""

OUR_IMPORTS = list(imports(OURS))


def own_arrows(found: list[Import]) -> dict[str, set[str]]:
    """Between modules; a package's own ``__init__`` is left out: it says what lives there."""
    return arrows(
        (each.importer, each.imported)
        for each in found
        if each.is_own and each.importer and each.imported
    )


def folder_arrows(found: list[Import]) -> dict[str, set[str]]:
    """The same between the entries at the package's top."""
    graph = own_arrows(found)
    return arrows((folder(name), folder(other)) for name in graph for other in graph[name])


def test_no_modules_import_in_circles() -> None:
    assert circles(own_arrows(OUR_IMPORTS)) == []


def test_no_folders_import_in_circles() -> None:
    graph = folder_arrows(OUR_IMPORTS)
    assert len(graph) > 20
    assert circles(graph) == []


def test_circles_are_found_through_any_number_of_modules() -> None:
    chain = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("e", "a"), ("d", "d")]
    assert circles(arrows(chain)) == [["a", "b", "c"]]


def test_the_packages_top_stays_small() -> None:
    entries = [path for path in OURS.iterdir() if path.suffix == ".py" or path.is_dir()]
    shown = sorted(path.name for path in entries if not path.name.startswith("__"))
    assert len(shown) <= 31, shown


def test_every_folder_says_what_lives_there() -> None:
    silent = [
        str(path.relative_to(OURS))
        for path in OURS.rglob("__init__.py")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent


def test_only_the_plugin_knows_pytest() -> None:
    knowing = {
        entry.importer
        for entry in OUR_IMPORTS
        if entry.imported.split(".")[0] in ("pytest", "_pytest", "pluggy", "xdist")
        and entry.importer  # it names a type of pytest's
    }
    assert {name for name in knowing if folder(name) != "plugin"} == READ_PYTESTS_CONFIGURATION


def test_the_process_room_knows_nothing_of_shimmy() -> None:
    assert "process" in folder_arrows(OUR_IMPORTS)
    assert not folder_arrows(OUR_IMPORTS)["process"]


def test_the_library_knows_of_the_fake_only_its_words_its_releases_and_its_model() -> None:
    named = {entry.imported for entry in OUR_IMPORTS if entry.imported.startswith("fake_shimmy")}
    assert {".".join(name.split(".")[:2]) for name in named} == {
        "fake_shimmy",
        "fake_shimmy.models",
        "fake_shimmy.releases",
        "fake_shimmy.script",
    }


@pytest.mark.parametrize("name", pytest_shimmy.__all__)
def test_public_names_lead_somewhere(name: str) -> None:
    found = getattr(pytest_shimmy, name)
    assert found.__name__ == name
    assert found.__module__.startswith("pytest_shimmy.")
    assert name in dir(pytest_shimmy)


def test_a_public_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'pytest_shimmy' has no attribute 'nope'"):
        getattr(pytest_shimmy, "nope")  # noqa: B009


def loaded_by(statement: str) -> set[str]:
    """The modules of a fresh interpreter after `statement`."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", program], text=True).split())


def test_the_package_alone_loads_none_of_its_rooms() -> None:
    assert {name for name in loaded_by("import pytest_shimmy") if "shimmy" in name} == {
        "pytest_shimmy"
    }


def test_a_public_name_loads_no_more_than_its_own_room_needs() -> None:
    loaded = loaded_by("from pytest_shimmy import ShimmyError, ShimmyProcessOptions")
    assert {name for name in loaded if name.startswith("pytest_shimmy.")} == {
        "pytest_shimmy.defaults",
        "pytest_shimmy.errors",
        "pytest_shimmy.masking",
        "pytest_shimmy.options",
        "pytest_shimmy.setting_types",
    }


def test_a_keeper_loads_nothing_that_delays_its_server() -> None:
    # Without site, as it runs.
    program = "import sys, pytest_shimmy.sharing.keeper; print(*sys.modules)"
    command = [sys.executable, "-S", "-c", program]
    loaded = set(subprocess.check_output(command, text=True, cwd=OURS.parent).split())
    costly = {*("dataclasses", "inspect", "shutil", "tempfile", "random", "ctypes", "hashlib")}
    costly |= {"socket", "pytest_shimmy.supervisor.health"}
    assert not loaded & costly


@pytest.mark.parametrize(
    ("loaded", "compiled"),
    [
        ("pytest_shimmy.sharing.keeper", []),
        # Its type would cost more than its text, which every run loads.
        ("pytest_shimmy.harness, pytest_shimmy.executable.identify", ["tuple[GpuMode, ...]"]),
    ],
)
def test_what_a_first_server_waits_for_compiles_no_annotations_of_its_records(
    loaded: str, compiled: list[str]
) -> None:
    program = (
        "import builtins\n"
        "compiled, really = [], builtins.compile\n"
        "def noted(source, file, mode, *rest, **options):\n"
        "    compiled.append(source) if mode == 'eval' else None  # else it is a module\n"
        "    return really(source, file, mode, *rest, **options)\n"
        "builtins.compile = noted\n"
        f"import {loaded}\n"
        "print(compiled)"
    )
    command = [sys.executable, "-B", "-S", "-c", program]
    assert subprocess.check_output(command, text=True, cwd=OURS.parent) == f"{compiled}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "costly",
    [
        *("openai", "requests", "filelock", "httptools", "psutil"),
        *("asyncio", "ssl", "http.client", "multiprocessing", "ctypes", "email"),
        *("pytest_shimmy.supervisor.manager", "pytest_shimmy.server", "pytest_shimmy.harness"),
        *("pytest_shimmy.plugin.report_texts", "fake_shimmy"),
    ],
)
def test_the_plugin_loads_nothing_that_costs(costly: str, plugin_loads: set[str]) -> None:
    assert costly not in plugin_loads


@pytest.fixture(scope="module")
def plugin_loads() -> set[str]:
    """What the plugin loads beyond what pytest itself does."""
    return loaded_by("import pytest_shimmy.plugin.hooks") - loaded_by("import pytest")


def test_the_plugin_loads_little(plugin_loads: set[str]) -> None:
    assert len(plugin_loads) <= 10


def shown_by_a_run(directory: Path, statement: str, fixture: str = "") -> list[str]:
    """What a test of a run with our plugin prints in `statement`, in words."""
    text = f"import sys\n\ndef test_it({fixture}):\n    print('shown', {statement})\n"
    directory.joinpath("test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:xdist", "-p", "no:randomly"]
    output = subprocess.check_output(command, text=True, cwd=directory)
    (line,) = (line for line in output.splitlines() if "shown " in line)
    return line.partition("shown ")[2].split()


def test_a_run_that_uses_no_server_loads_what_registers_and_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(tmp_path))
    loaded = shown_by_a_run(tmp_path, "*sys.modules")
    assert {name for name in loaded if name.startswith("pytest_shimmy.")} == {
        *("pytest_shimmy.defaults", "pytest_shimmy.settings", "pytest_shimmy.settings_table"),
        *("pytest_shimmy.plugin", "pytest_shimmy.plugin.fixtures", "pytest_shimmy.plugin.hooks"),
        *("pytest_shimmy.plugin.entry", "pytest_shimmy.plugin.rewriting"),
        *("pytest_shimmy.plugin.state", "pytest_shimmy.plugin.texts"),
    }


def test_pytest_is_given_all_hooks() -> None:
    names = [{name for name in vars(each) if name.startswith("pytest_")} for each in (entry, hooks)]
    assert names[0] == names[1]


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["", "shimmy_server"])
def test_pytest_rewrites_no_module_of_ours_but_the_first_few(fixture: str, tmp_path: Path) -> None:
    is_rewritten = "'Rewriting' in str(getattr(each, '__loader__', ''))"
    names = f"[name for name, each in sys.modules.items() if {is_rewritten}]"
    shown = shown_by_a_run(tmp_path, f"*{names}", fixture)
    assert "test_it" in shown
    assert {name for name in shown if "shimmy" in name} == {
        *("pytest_shimmy", "pytest_shimmy.plugin", "pytest_shimmy.plugin.entry"),
        "pytest_shimmy.plugin.rewriting",
    }


@pytest.mark.slow
def test_what_is_imported_after_ours_is_rewritten_again(tmp_path: Path) -> None:
    tmp_path.joinpath("test_helper.py").write_text("def same(a, b):\n    assert a == b\n")
    rewritten = "'Rewriting' in str(__import__('test_helper').__loader__)"
    assert shown_by_a_run(tmp_path, rewritten, "shimmy_server") == ["True"]
