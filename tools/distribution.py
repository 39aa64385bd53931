"""Build what is released, and check it: its files, its metadata, the changelog.

    python3 dev.py build             wheel and sdist in dist/, checked
    python3 dev.py build --tag v1.2  the same, for the release of that tag; its entry of the
                                     changelog is written to dist/notes.md

Strategy: what the wheel must hold follows from the checkout, so a new file needs no entry here.
"""

from __future__ import annotations

import argparse
import configparser
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pytest_shimmy", "fake_shimmy")


class NotReleasableError(Exception):
    """The changelog has no entry to release."""


def build(target: Path) -> tuple[Path, Path]:
    """The wheel and the sdist, made in the empty folder `target`."""
    # No isolation: hatchling is one of the locked packages.
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return next(target.glob("*.whl")), next(target.glob("*.tar.gz"))


def expected_files() -> set[str]:
    """Every file of the packages in the checkout."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*")]
    return {
        path.relative_to(ROOT).as_posix()
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts
    }


def problems(wheel: Path, sdist: Path, tag: str = "") -> list[str]:
    """What is wrong with them, a line each."""
    files, information = _read(wheel)
    with tarfile.open(sdist) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames()}
    metadata = Parser().parsestr(information.get("METADATA", ""))
    expected = expected_files()
    return [
        *(f"the wheel lacks {name}" for name in sorted(expected - files)),
        *(f"the wheel has {name}, which is not ours" for name in sorted(files - expected)),
        *(f"the sdist lacks {name}" for name in sorted(expected - sources)),
        *_metadata_problems(metadata, tag),
        *_entry_point_problems(information.get("entry_points.txt", ""), files),
        *([] if "licenses/LICENSE" in information else ["the wheel has no license"]),
    ]


def _read(wheel: Path) -> tuple[set[str], dict[str, str]]:
    """The names of the wheel's files, and the texts in its .dist-info."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        inside = re.compile(r"[^/]+\.dist-info/(.+)")
        information = {
            found[1]: archive.read(name).decode() for name in names if (found := inside.match(name))
        }
    return {name for name in names if not inside.match(name)}, information


def _metadata_problems(metadata: Message, tag: str) -> Iterator[str]:
    for name in ("Name", "Version", "Summary", "Requires-Python", "License-Expression"):
        if not metadata[name]:
            yield f"the metadata has no {name}"
    if tag and tag != f"v{metadata['Version']}":
        yield f"the tag is {tag}, the version is {metadata['Version']}"
    text = str(metadata.get_payload())
    if "# pytest-shimmy" not in text:
        yield "the metadata has no description"
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https://|#", link):
            yield f"the description links to {link}, which an index does not have"
    for each in metadata.get_all("Project-URL", []):
        if ", https://" not in each:
            yield f"a link of the project is no web address: {each}"


def _entry_point_problems(text: str, files: set[str]) -> Iterator[str]:
    points = configparser.ConfigParser(delimiters="=")
    points.read_string(text)
    for group in ("console_scripts", "pytest11"):
        if not points.has_section(group):
            yield f"there are no {group}"
            continue
        for name, where in points.items(group):
            path = where.partition(":")[0].replace(".", "/")
            if not files & {f"{path}.py", f"{path}/__init__.py"}:
                yield f"{name} leads to {where}, which the wheel lacks"


def changelog_entry(text: str, version: str) -> str:
    """What the changelog says of `version`.

    Raises `NotReleasableError` where it has no entry, or no date for it.
    """
    found = re.search(
        rf"^## {re.escape(version)} \(([^)]+)\)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE
    )
    if found is None:
        raise NotReleasableError(f"CHANGELOG.md has no entry for {version}")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", found[1]):
        raise NotReleasableError(f"CHANGELOG.md has no date for {version}, but ({found[1]})")
    return found[2].strip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py build")
    parser.add_argument("--tag", default="")
    tag = parser.parse_args().tag
    target = ROOT / "dist"
    shutil.rmtree(target, ignore_errors=True)
    made = build(target)
    found = problems(*made, tag)
    if tag:
        try:
            entry = changelog_entry(
                (ROOT / "CHANGELOG.md").read_text("utf-8"), tag.removeprefix("v")
            )
        except NotReleasableError as error:
            found.append(str(error))
        else:
            (target / "notes.md").write_text(entry, encoding="utf-8")
    print(*(found or [f"built and checked: {path.relative_to(ROOT)}" for path in made]), sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
