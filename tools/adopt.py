"""Follow a release of shimmy: build, record, draft its row, say what is left for a person.

    python3 dev.py adopt X.Y.Z
    python3 dev.py adopt newest     the newest that cargo finds; exit code 0 and no change where
                                    it is known

Strategy: a release is like the one whose recording is most like its own, but for some traits. Each
trait of that row that another row has otherwise is tried in its place, on checks that show all
changes, and stays where the fake then differs in less. What no trait explains is left, grouped.
The trials run on rows in memory, and the table is written when all is known. What was built and
recorded is not done again, so a run that was interrupted goes on from there.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import dev
from fake_shimmy import NEWEST, releases
from pytest_shimmy import ShimmyError
from pytest_shimmy.contract import recording_files, report, subject, verify
from pytest_shimmy.contract.recordings import Recording
from pytest_shimmy.contract.report import Comparison
from pytest_shimmy.contract.subject import Subject

ROOT = Path(__file__).resolve().parents[1]
BUILDS = ("default", "cpu-only")
MOST_SAMPLES = 60
"""Checks of a build on which a trait is tried, one for each of so many changes."""
_NO_TRAITS = ("version", "builds", "default_build")


class Row(NamedTuple):
    """A row as it stands in the table: another one, but for some traits."""

    version: str
    base: str
    """The version of the other one."""
    traits: Mapping[str, str]
    """What is different, as expressions in the table's module."""

    @property
    def expression(self) -> str:
        changed = "".join(f", {name}={value}" for name, value in sorted(self.traits.items()))
        return f'{variable(self.base)}.but("{self.version}"{changed})'

    @property
    def source(self) -> str:
        """The statement, as ruff would format a long one."""
        if not self.traits:
            return f"{variable(self.version)} = {self.expression}\n"
        lines = [f'    "{self.version}",']
        lines += [f"    {name}={value}," for name, value in sorted(self.traits.items())]
        head = f"{variable(self.version)} = {variable(self.base)}.but("
        return "\n".join([head, *lines, ")"]) + "\n"

    def imitated(self, of: Recording) -> Subject:
        """The bundled fake with this row, as the build that `of` is a recording of."""
        releases.RELEASES[self.version] = eval(self.expression, vars(releases))
        fake = subject.bundled_fake(self.version, of.of.build, of.engine)
        program = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
            "from fake_shimmy import releases; "
            f"releases.RELEASES[{self.version!r}] = eval({self.expression!r}, vars(releases)); "
            "from fake_shimmy.__main__ import main; main()"
        )
        return fake._replace(command=(sys.executable, "-I", "-S", "-c", program))


def variable(version: str) -> str:
    """The name of a release's row."""
    return "_V" + version.replace(".", "_")


def candidates(base: str) -> Iterator[tuple[str, str]]:
    """Each trait that another row has otherwise, and the expression for it."""
    row = releases.RELEASES[base]
    for name in row.__slots__:
        seen = [getattr(row, name)]
        for version, other in releases.RELEASES.items():
            value = getattr(other, name)
            if name not in _NO_TRAITS and value not in seen:
                seen.append(value)
                is_plain = value is None or isinstance(value, bool | int)
                yield name, repr(value) if is_plain else f"{variable(version)}.{name}"


def comparison(row: Row, of: Recording, checks: frozenset[str] | None = None) -> Comparison:
    """The fake with that row against a recording of the release, in some checks or all."""
    who = row.imitated(of)
    chosen = verify.check(who, of, lambda case: checks is None or case.id in checks)
    return Comparison(who, "the bundled fake", of, list(chosen), ())


def weight(found: Sequence[Comparison]) -> int:
    """How much differs, in signs: a fake that fails altogether has few edits, but long ones."""
    return sum(
        1 + sum(len(str(edit.was)) + len(str(edit.now)) for edit in result.edits)
        for one in found
        for result in one.results
        if result.verdict == "differs"
    )


def samples(of: Comparison) -> frozenset[str]:
    """Some checks that show the widest changes."""
    return frozenset(change.checks[0] for change in of.changes[:MOST_SAMPLES])


def engine(base: str, recordings: Sequence[Recording]) -> dict[str, str]:
    """The trait of a GPU engine of another version than the base's, as the paths in its panics name
    it; else none."""
    seen = {found for one in recordings for found in _ENGINE.findall(str(one.entries))}
    known = releases.RELEASES[base].airframe
    if known is None or len(seen) != 1 or seen == {known.version}:
        return {}
    return {"airframe": f'{variable(base)}.airframe.but("{seen.pop()}")'}


_ENGINE = re.compile(r"airframe-(\d+\.\d+\.\d+)/src")


def draft(version: str, base: str, recordings: Sequence[Recording]) -> Row:
    """The row that leaves least different, of those that differ from the base in known traits."""
    row = Row(version, base, engine(base, recordings))
    chosen = {one.name: samples(comparison(row, one)) for one in recordings}
    differing = [one for one in recordings if chosen[one.name]]

    def measured(trial: Row) -> int:
        return weight([comparison(trial, one, chosen[one.name]) for one in differing])

    least = measured(row)
    goes_on = True
    while least and goes_on:
        goes_on = False
        for name, value in candidates(base):
            trial = row._replace(traits={**row.traits, name: value})
            if row.traits.get(name) == value:
                continue
            left = measured(trial)
            if left < least:
                print(f"  {name}={value}: {least:,} -> {left:,} signs differ", flush=True)
                row, least, goes_on = trial, left, True
    return row


def with_row(text: str, row: Row) -> str:
    """The module of the table with one more row in it, among the others by age."""
    head, found, tail = text.partition("\nRELEASES = {")
    rows = re.search(r"in \(([^)]*)\)", tail)
    if not found or rows is None:
        raise ValueError("the table of releases is not where it was")
    names = [name.strip() for name in rows[1].split(",") if name.strip()]
    names = sorted({*names, variable(row.version)}, key=_numbers, reverse=True)
    table = tail[: rows.start(1)] + ", ".join(names) + tail[rows.end(1) :]
    return f"{head}\n{row.source}{found}{table}"


def with_builds(text: str, version: str, base: str, *, is_newest: bool) -> str:
    """``dev.py`` with the builds of a release, made as those of `base`; the tests run on them where
    they are the newest.
    """
    for build in reversed(BUILDS):
        line = re.search(rf'^    "{re.escape(base)}-{build}": .*\n', text, re.MULTILINE)
        if line is not None:
            text = text.replace(line[0], line[0].replace(base, version) + line[0])
    if is_newest:
        text = re.sub(
            r"^SHIMMY, .*$",
            lambda found: found[0].replace(f'"{base}-', f'"{version}-'),
            text,
            flags=re.MULTILINE,
        )
    return text


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def newest() -> str:
    """The newest release that cargo finds."""
    found = subprocess.run(
        ["cargo", "search", "shimmy", "--limit", "1"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    version = re.match(r'shimmy = "(\d+\.\d+\.\d+)"', found.stdout)
    if version is None:
        raise ValueError(f"cargo search says: {found.stdout!r}")
    return version[1]


def adopt(version: str) -> None:
    """All of it. Raises `ShimmyError` where the release cannot be recorded."""
    began = time.monotonic()
    newest_known = max(dev.BUILDS, key=_numbers).partition("-")[0]
    for build in BUILDS:
        dev.BUILDS.setdefault(f"{version}-{build}", dev.BUILDS[f"{newest_known}-{build}"])
    names = [f"{version}-{build}" for build in BUILDS]
    paths = dev.real_shimmys(names)
    if set(paths) != set(names):
        raise ValueError("not every build can be had")
    known = {one.name: one for one in recording_files.shipped()}
    made, bases = [], []
    for name, path in paths.items():
        if name not in known:
            print(f"recording {name}, each check twice", flush=True)
            recording_files.ship(verify.record(subject.executable(path)))
        file = recording_files.SHIPPED / f"{name}.json"
        made.append(recording_files.load(file))
        bases.append(json.loads(file.read_text(encoding="utf-8"))["base"].partition("-")[0])
        print(f"{file.relative_to(ROOT)}: what differs from {bases[-1]}", flush=True)
    base = next(one for one in bases if one != version)
    print(f"drafting the row, from that of {base}", flush=True)
    row = draft(version, base, made)
    left = [comparison(row, one) for one in made]
    _write(row)
    _tell(row, left, (time.monotonic() - began) / 60)


def _write(row: Row) -> None:
    is_newest = _numbers(row.version) > _numbers(NEWEST)
    table = Path(releases.__file__)
    table.write_text(with_row(table.read_text("utf-8"), row), encoding="utf-8")
    tool = Path(dev.__file__)
    text = with_builds(tool.read_text("utf-8"), row.version, row.base, is_newest=is_newest)
    tool.write_text(text, encoding="utf-8")
    if is_newest:
        package = table.with_name("__init__.py")
        text = package.read_text("utf-8").replace(f'"{NEWEST}"', f'"{row.version}"')
        package.write_text(text, encoding="utf-8")
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(table)], check=True)
    subprocess.run([sys.executable, "-m", "docs.generate"], cwd=ROOT, check=True)


def _tell(row: Row, left: Sequence[Comparison], minutes: float) -> None:
    print(f"\n{row.source}")
    for one in left:
        print(report.title(one.label, one.subject, one.recording))
        print("\n".join(report.lines(one, everything=False)), end="\n\n")
    checks = sum(result.verdict == "differs" for one in left for result in one.results)
    print(
        f"{row.version} adopted in {minutes:.0f} minutes. "
        + (
            f"Left for a person: what makes {checks} checks differ, above; then the changelog."
            if checks
            else "The fake does all that was recorded. Left for a person: the changelog."
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dev.py adopt")
    parser.add_argument("version", help="X.Y.Z, or newest")
    version = parser.parse_args(arguments).version
    if version == "newest":
        version = newest()
        print(f"the newest release is {version}", flush=True)
    if version in releases.RELEASES:
        print(f"{version} is imitated already")
        return 0
    try:
        adopt(version)
    except (ShimmyError, ValueError) as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
