"""Build what is released, and check it: its files, its metadata, that it runs, the changelog.

    python3 dev.py build             in dist/, checked: wheel, sdist, fake-shimmy.pyz and, where
                                     there is npm, the package of npm
    python3 dev.py build --tag v1.2  the same, for the release of that tag; its entry of the
                                     changelog is written to dist/notes.md

Strategy: what they must hold follows from the checkout, so a new file needs no entry here.
"""

from __future__ import annotations

import argparse
import configparser
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

from fake_shimmy import NEWEST
from tools import pyz

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pytest_shimmy", "fake_shimmy")
PLACEHOLDER = ".invalid"
"""The end of a host that cannot exist (RFC 2606)."""
PYZ = "fake-shimmy.pyz"
NPM = ROOT / "packaging" / "npm"
NPM_FILES = {
    *("package.json", "README.md", "LICENSE", "fake-shimmy.js", "index.js", "index.d.ts"),
    *("script.d.ts", PYZ),
}


class NotReleasableError(Exception):
    """The changelog has no entry to release."""


def build(target: Path) -> tuple[Path, Path]:
    """The wheel and the sdist, made in the empty folder `target`."""
    # No isolation: hatchling is one of the locked packages.
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return next(target.glob("*.whl")), next(target.glob("*.tar.gz"))


def build_npm(target: Path) -> Path | None:
    """The package of npm in the folder `target`, with the pyz that is there; None without npm."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        package = shutil.copytree(NPM, Path(folder, "npm"))
        shutil.copy(target / PYZ, package)
        pack = [npm, "pack", "--silent", "--pack-destination", str(target)]
        # Its own script would make the pyz anew.
        subprocess.run([*pack, "--ignore-scripts"], cwd=package, check=True, stdout=subprocess.PIPE)
    return next(target.glob("fake-shimmy-*.tgz"))


def expected_files(packages: tuple[str, ...] = PACKAGES) -> set[str]:
    """Every file of the packages in the checkout."""
    paths = [path for package in packages for path in (ROOT / package).rglob("*")]
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


def pyz_problems(path: Path) -> list[str]:
    """What is wrong with the single file, a line each."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    modules = {name for name in expected_files(("fake_shimmy",)) if name != "fake_shimmy/py.typed"}
    compiled = {name.replace(".py", ".pyc") for name in modules if name.endswith(".py")}
    tag = sys.implementation.cache_tag
    wanted = modules | {f"{tag}/{name}" for name in compiled}
    found = [f"the pyz lacks {name}" for name in sorted(wanted - names)]
    with tempfile.TemporaryDirectory() as empty:
        # No site: a Python without packages.
        command = [sys.executable, "-I", "-S", str(path), "--version"]
        done = subprocess.run(command, cwd=empty, env={}, capture_output=True, text=True)
    if done.stdout != f"shimmy {NEWEST}\n":
        found.append(f"the pyz does not run: {done.stdout}{done.stderr}")
    return found


def npm_problems(path: Path, version: str) -> list[str]:
    """What is wrong with the package of npm, a line each."""
    with tarfile.open(path) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
        manifest = archive.extractfile("package/package.json")
        assert manifest is not None
        document = json.load(manifest)
    problems = [f"the package of npm lacks {name}" for name in sorted(NPM_FILES - names)]
    problems += [f"the package of npm has {name}" for name in sorted(names - NPM_FILES)]
    if document["version"] != version:
        problems.append(f"the package of npm is {document['version']}, the version is {version}")
    return problems


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
    for name in ("Name", "Version", "Summary", "Author", "Requires-Python", "License-Expression"):
        if not metadata[name]:
            yield f"the metadata has no {name}"
    if tag and tag != f"v{metadata['Version']}":
        yield f"the tag is {tag}, the version is {metadata['Version']}"
    text = str(metadata.get_payload())
    if "# pytest-shimmy" not in text:
        yield "the metadata has no description"
    for link in relative_links(text):
        yield f"the description links to {link}, which an index does not have"
    links = dict(each.split(", ", 1) for each in metadata.get_all("Project-URL", []))
    for label in ("Documentation", "Source", "Changelog", "Issues"):
        if not links.get(label, "").startswith("https://"):
            yield f"the metadata has no link {label}"
    if tag and PLACEHOLDER in links.get("Source", ""):
        yield f"the repository is {links['Source']}, a placeholder: pyproject.toml says where it is"


def relative_links(markdown: str) -> list[str]:
    links = re.findall(r"\]\(([^)\s]+)\)", markdown)
    return [link for link in links if not re.match(r"https://|#", link)]


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
    made = [*build(target), target / PYZ]
    pyz.build(made[2])
    version = made[0].name.split("-")[1]
    found = [*problems(*made[:2], tag), *pyz_problems(made[2])]
    npm = build_npm(target)
    if npm is None:
        print("there is no npm: its package is not built", file=sys.stderr)
    else:
        made.append(npm)
        found += npm_problems(npm, version)
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
