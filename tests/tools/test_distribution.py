"""What is released holds every file of the packages, and its metadata leads somewhere."""

from __future__ import annotations

import functools
import re
import shutil
import zipfile
from collections.abc import Callable
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
import readme_renderer.markdown

from tools import distribution

pytestmark = pytest.mark.slow

Spoil = Callable[[str, bytes], bytes | None]
"""From the name and content of a file in the wheel to its new content, or None: it goes."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return distribution.build(tmp_path_factory.mktemp("dist"))


def spoilt(wheel: Path, target: Path, spoil: Spoil) -> Path:
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if (content := spoil(name, old.read(name))) is not None:
                new.writestr(name, content)
    return target


def described(wheel: Path) -> Message:
    """Its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_what_is_built_has_no_problem(built: tuple[Path, Path]) -> None:
    assert distribution.problems(*built) == []


def test_a_release_needs_the_address_of_the_repository(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    wheel, sdist = built
    tag = f"v{wheel.name.split('-')[1]}"
    links = dict(each.split(", ") for each in described(wheel).get_all("Project-URL", []))
    assert links.keys() == {"Documentation", "Source", "Changelog", "Issues"}
    assert all(link.startswith(links["Source"]) for link in links.values())

    def spoil(name: str, content: bytes, host: bytes) -> bytes:
        return content.replace(links["Source"].encode(), b"https://" + host)

    for host, refused in {b"example.org/us": False, b"nowhere.invalid": True}.items():
        path = spoilt(wheel, tmp_path / wheel.name, functools.partial(spoil, host=host))
        found = distribution.problems(path, sdist, tag)
        assert [each.startswith("the repository is ") for each in found] == [True] * refused


def test_an_index_shows_the_readme_with_all_its_links(built: tuple[Path, Path]) -> None:
    metadata = described(built[0])
    assert metadata["Description-Content-Type"] == "text/markdown"
    shown = readme_renderer.markdown.render(str(metadata.get_payload()))
    assert shown is not None
    assert ">pytest-shimmy<" in shown
    assert "<table>" in shown
    leads = re.findall(r'(?:href|src)="([^"]+)"', shown)
    relative = distribution.relative_links((distribution.ROOT / "README.md").read_text())
    assert len(leads) > len(relative) > 10
    assert not [link for link in leads if not re.match("https://|#", link)]


@pytest.mark.parametrize(
    ("file", "change", "problem"),
    [
        ("fake_shimmy/__main__.py", None, "the wheel lacks fake_shimmy/__main__.py"),
        ("pytest_shimmy/py.typed", None, "the wheel lacks pytest_shimmy/py.typed"),
        ("LICENSE", None, "the wheel has no license"),
        ("METADATA", (b"# pytest-shimmy", b"[a](docs/a.md)"), "the description links to docs/a.md"),
        ("METADATA", (b"# pytest-shimmy", b"# "), "the metadata has no description"),
        ("METADATA", (b"Requires-Python", b"X"), "the metadata has no Requires-Python"),
        ("METADATA", (b"\nAuthor: ", b"\nX: "), "the metadata has no Author"),
        ("METADATA", (b"URL: Issues, ", b"URL: X, "), "the metadata has no link Issues"),
        ("METADATA", (b"\nVersion: ", b"\nVersion: 9"), "the tag is "),
        (
            "entry_points.txt",
            (b"fake_shimmy.__main__", b"fake_shimmy.gone"),
            "fake-shimmy leads to fake_shimmy.gone:main, which the wheel lacks",
        ),
    ],
)
def test_a_spoilt_wheel_has_one(
    built: tuple[Path, Path],
    file: str,
    change: tuple[bytes, bytes] | None,
    problem: str,
    tmp_path: Path,
) -> None:
    def spoil(name: str, content: bytes) -> bytes | None:
        if not name.endswith(file):
            return content
        return None if change is None else content.replace(*change)

    wheel, sdist = built
    version = wheel.name.split("-")[1]
    found = distribution.problems(
        spoilt(wheel, tmp_path / wheel.name, spoil), sdist, tag=f"v{version}"
    )
    assert [each for each in found if each.startswith(problem)]


def test_a_file_that_is_not_ours_is_a_problem(built: tuple[Path, Path], tmp_path: Path) -> None:
    wheel = tmp_path / built[0].name
    shutil.copy(built[0], wheel)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("tests/conftest.py", "")
    assert distribution.problems(wheel, built[1]) == [
        "the wheel has tests/conftest.py, which is not ours"
    ]


def test_links_of_the_readme_lead_to_the_released_version() -> None:
    from hatch_build import readme

    rest = "[c](https://example.org/c) and [d](#e)"
    there = "https://example.org/us"
    assert readme(f"[a](docs/a.md#b) ![p](p.svg) and {rest}", there, "1.0") == (
        f"[a]({there}/blob/v1.0/docs/a.md#b) ![p]({there}/raw/v1.0/p.svg) and {rest}"
    )


def test_the_notes_of_a_release_are_its_entry_in_the_changelog() -> None:
    text = "# Changelog\n\n## 1.1.0 (2026-05-01)\n\n- New.\n\n## 1.0.0 (unreleased)\n\n- Old.\n"
    assert distribution.changelog_entry(text, "1.1.0") == "- New.\n"
    with pytest.raises(distribution.NotReleasableError, match=r"no date for 1\.0\.0"):
        distribution.changelog_entry(text, "1.0.0")
    with pytest.raises(distribution.NotReleasableError, match=r"no entry for 1\.0"):
        distribution.changelog_entry(text, "1.0")
