"""Who imports whom, from the parsed source; and what a run pays that never asks for a server."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import fake_shimmy
import pytest_shimmy

OURS = Path(pytest_shimmy.__file__).parent
FAKE = Path(fake_shimmy.__file__).parent

# From the ground up: a room imports from lower floors only, wherever in its code. So nobody
# imports in circles either.
FLOORS = (
    {"pump", "windows_job"},
    {"anchor", "errors", "defaults", "health", "process", "protocol"}
    | {"accel.cuda_driver", "accel.result"}
    | {"models.answers", "models.choice", "models.listing", "models.progress"},
    {"command"},
    {"binary", "dialect", "events", "options", "paths", "pretence"}
    | {"accel.asking", "models.summary"},
    {"accel.lease", "accel.readback", "accel.readers", "models.locks"},
    {"accel.probes", "accel.requirement", "models.staging", "models.transfer"},
    {"accel.detector", "models.downloads", "models.ensuring", "models.offering"},
    {"models.registry"},
    {"models.searched"},
    {"client", "control", "failures", "outcomes", "ports", "streams", "table"},
    {"conditions", "journal", "settings", "startup"},
    {"listeners", "report", "scripts", "verdict"}
    | {"commands.arguments", "commands.chat", "commands.terminal"}
    | {"commands.meeting", "commands.project", "commands.shown"},
    {"observing"},
    {"fake"},
    {"gpu", "manager", "plan"},
    {"janitor"},
    {"commands.completion", "commands.offered", "commands.running", "keeper"},
    {"sharing"},
    {"server"},
    {"harness", "commands.agent", "commands.findings", "commands.serve"},
    {"commands.doctor", "commands.models"},
    {"contract.cases", "contract.tiny_gguf", "contract.wire"},
    {"contract.neutral", "contract.subject", "contract.worlds"},
    {"contract.bodies", "contract.commands", "contract.framing", "contract.lives"}
    | {"contract.manners", "contract.recordings", "contract.routes", "contract.websockets"},
    {"contract.generations"},
    {"contract.observe", "contract.tables"},
    {"contract.verify"},
    {"contract.report"},
    {"contract.session"},
    {"commands.record", "commands.verify"},
    {"cli", "state"},
    {"markers"},
    {"in_use"},
    {"fixtures"},
    {"plugin"},
)

# The same for the fake, whose rooms are packages.
FAKE_FLOORS = (
    {"rust", "releases", "machines"},
    {"serde", "wire", "script"},
    {"models"},
    {"api"},
    {"stage"},
    {"serving"},
    {"commands"},
    {"__main__"},
)

KNOW_PYTEST = {"commands.project", "fixtures", "in_use", "markers", "plugin", "state"}


class Import(NamedTuple):
    importer: str
    imported: str
    """Dotted name; of our own, the module's name without the package."""
    is_ours: bool


def imports(package: Path) -> Iterator[Import]:
    """Every import statement in the package's source."""
    for path in sorted(package.rglob("*.py")):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = _from(node, path, package)
            else:
                continue
            for name in names:
                first, _, rest = name.partition(".")
                ours = first == package.name
                yield Import(module, (rest or "__init__") if ours else name, ours)


def _from(node: ast.ImportFrom, path: Path, package: Path) -> list[str]:
    """What a ``from … import …`` in `path` loads, relative ones resolved."""
    folder = path.parents[node.level - 1] if node.level else None
    inside = folder.relative_to(package.parent).parts if folder else ()
    base = ".".join([*inside, *filter(None, [node.module])])
    source = package.parent.joinpath(*base.split("."))
    if not (source / "__init__.py").exists():
        return [base]
    return [
        f"{base}.{alias.name}"
        if (source / f"{alias.name}.py").exists() or (source / alias.name).is_dir()
        else base
        for alias in node.names
    ]


OUR_IMPORTS = list(imports(OURS))
FAKE_IMPORTS = list(imports(FAKE))


def floor(module: str, floors: tuple[set[str], ...] = FLOORS) -> int:
    for number, rooms in enumerate(floors):
        if module in rooms:
            return number
    pytest.fail(f"{module} is a new room: give it a floor")


def test_every_room_has_one_floor() -> None:
    rooms = sorted(
        ".".join(path.relative_to(OURS).with_suffix("").parts)
        for path in OURS.rglob("*.py")
        if path.stem != "__init__"
    )
    assert sorted(room for level in FLOORS for room in level) == rooms


@pytest.mark.parametrize("module", sorted({entry.importer for entry in OUR_IMPORTS}))
def test_imports_go_down(module: str) -> None:
    if module.endswith("__init__"):  # it loads each room when it is asked for
        return
    wrong = {
        entry.imported
        for entry in OUR_IMPORTS
        if entry.is_ours and entry.importer == module and floor(entry.imported) >= floor(module)
    }
    assert not wrong


def test_imports_go_down_in_the_fake_too() -> None:
    crossings = {
        tuple(name.partition(".")[0] for name in (entry.importer, entry.imported))
        for entry in FAKE_IMPORTS
        if entry.is_ours and entry.imported != "__init__"
    }
    assert len(crossings) > 10
    assert not [
        (importer, imported)
        for importer, imported in crossings
        if importer != imported and floor(imported, FAKE_FLOORS) >= floor(importer, FAKE_FLOORS)
    ]


def test_only_the_face_knows_pytest() -> None:
    knowing = {
        entry.importer
        for entry in OUR_IMPORTS
        if entry.imported.split(".")[0] in ("pytest", "_pytest", "pluggy", "xdist")
    }
    assert knowing == KNOW_PYTEST


def test_the_process_room_knows_nothing_of_shimmy() -> None:
    ours = [entry for entry in OUR_IMPORTS if entry.is_ours]
    known = {entry.imported for entry in ours if entry.importer in ("process", "command")}
    assert known == {"process", "pump", "windows_job"}


def test_the_library_names_the_fake_only_where_it_stands_in_or_speaks_its_words() -> None:
    knowing = {entry.importer for entry in OUR_IMPORTS if entry.imported.startswith("fake_shimmy")}
    assert knowing == {*("binary", "conditions", "fake", "journal", "plugin", "scripts", "table")}
    named = {entry.imported for entry in OUR_IMPORTS if entry.imported.startswith("fake_shimmy")}
    assert {".".join(name.split(".")[:2]) for name in named} == {
        "fake_shimmy",
        "fake_shimmy.releases",
        "fake_shimmy.script",
    }


def test_the_fake_is_a_program_of_its_own() -> None:
    allowed = sys.stdlib_module_names | {"fake_shimmy"}
    strangers = {
        (entry.importer, entry.imported)
        for entry in FAKE_IMPORTS
        if not entry.is_ours and entry.imported.split(".")[0] not in allowed
    }
    assert not strangers


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
        "pytest_shimmy.options",
    }


@pytest.mark.parametrize(
    "costly",
    [
        *("openai", "requests", "filelock", "httptools", "psutil"),
        *("asyncio", "ssl", "http.client", "multiprocessing", "ctypes", "email"),
        *("pytest_shimmy.manager", "pytest_shimmy.server", "pytest_shimmy.harness"),
        *("pytest_shimmy.report", "fake_shimmy"),
    ],
)
def test_the_plugin_loads_nothing_that_costs(costly: str, plugin_loads: set[str]) -> None:
    assert costly not in plugin_loads


@pytest.fixture(scope="module")
def plugin_loads() -> set[str]:
    """What the plugin loads beyond what pytest itself does."""
    return loaded_by("import pytest_shimmy.plugin") - loaded_by("import pytest")


def test_the_plugin_loads_little(plugin_loads: set[str]) -> None:
    assert len(plugin_loads) <= 10
