"""Recordings in files, so that a person can read in one what its release changed.

Strategy: a file holds every case of its recording, or the name of another recording, its base, and
what differs from it. *Changes* are edits (see `differences`) with the checks that show them; checks
that the base lacks, or that differ in more than values, are there whole; those that are gone, by
name. Texts of several lines are lists of lines. The order is that of the names, so two versions of
a file can be compared line by line. What is to be written is read back first.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ShimmyError, ShimmyErrorCode
from . import differences
from .differences import Edit
from .recordings import Entry, Recording

FORMAT = 2
SHIPPED = Path(__file__).parent / "recorded"
"""The recordings that come with the package."""

CHECKS, EVERYWHERE_BUT = "checks", "everywhere but in"
"""Where a change is: in these checks, or in all that have what it changes but for these."""
Names = dict[str, list[str]]
"""Names of checks, by group."""


def shipped() -> list[Recording]:
    """Every recording that comes with the package, newest release first."""
    read: dict[Path, Recording] = {}
    found = [_load(path, read) for path in sorted(SHIPPED.glob("*.json"))]
    return sorted(found, key=lambda one: (one.of.numbers, one.engine))[::-1]


def load(path: Path) -> Recording:
    """Read a recording. Its base is looked for beside it, then among those of the package.

    Raises `ShimmyError` (``VERIFY_FAILED``) for a file that is none, or of another format.
    """
    return _load(path, {})


def save(recording: Recording, path: Path, base: Recording | None = None) -> None:
    """Write a recording: all of it, or what differs from `base`."""
    text = _written(recording, base)
    if _decoded(json.loads(text), base) != recording:
        raise AssertionError(f"the recording of {recording.name} would not be the same in a file")
    path.write_text(text, encoding="utf-8")


def ship(made: Recording, folder: Path = SHIPPED) -> Path:
    """Put `made` in the place of the recording of its name, or beside the others, as differences to
    the one that is most like it; the others stay as they are. Returns its file."""
    paths = sorted(folder.glob("*.json"))
    read: dict[Path, Recording] = {}
    known = {one.name: one for one in (_load(path, read) for path in paths)}
    bases = {path.stem: json.loads(path.read_text(encoding="utf-8")).get("base") for path in paths}
    is_new = made.name not in known
    known[made.name] = made
    target = folder / f"{made.name}.json"
    if is_new and bases:
        # A recording that is based on this one cannot be its base; none is based on a new one.
        others = (one for name, one in known.items() if name != made.name)
        save(made, target, min(others, key=lambda one: len(_written(made, one))))
    else:
        save(made, target, known.get(bases.get(made.name) or ""))
    for name, base in bases.items():
        if base == made.name:
            save(known[name], folder / f"{name}.json", made)
    return target


def _load(path: Path, read: dict[Path, Recording]) -> Recording:
    if path in read:
        return read[path]
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']}, not {FORMAT}")
        base = None
        if "base" in data:
            beside = path.with_name(f"{data['base']}.json")
            base = _load(beside if beside.exists() else SHIPPED / beside.name, read)
        read[path] = _decoded(data, base)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ShimmyError(
            ShimmyErrorCode.VERIFY_FAILED,
            f"{path} is not a recording that can be read here: {error!r}.\n"
            "Make one with: pytest-shimmy record --shimmy-path=PATH",
            {"path": str(path)},
        ) from error
    return read[path]


def _decoded(data: Mapping[str, Any], base: Recording | None) -> Recording:
    entries: dict[str, Entry] = {}
    if base is not None:
        gone = {*_ids(data["gone"]), *_ids(data[CHECKS])}
        entries = {name: entry for name, entry in base.entries.items() if name not in gone}
        _change(entries, data["changes"])
    for group, checks in data[CHECKS].items():
        for name, check in checks.items():
            observation = {part: _plain(value) for part, value in check.items()}
            entries[f"{group}: {name}"] = Entry(observation.pop("digest"), observation)
    features = tuple(data["features"])
    return Recording(data["release"], data["engine"], data["platform"], features, entries)


def _change(entries: dict[str, Entry], changes: Sequence[Mapping[str, Any]]) -> None:
    """Change `entries` of a base."""
    by_check: defaultdict[str, list[Edit]] = defaultdict(list)
    search = _search(entries)
    for change in changes:
        for told in change["edits"]:
            edit = Edit(told["part"], _plain(told["was"]), _plain(told["now"]))
            if CHECKS in change:
                chosen: Iterable[str] = _ids(change[CHECKS])
            else:
                others = set(_ids(change[EVERYWHERE_BUT]))
                chosen = [name for name in search.names(edit) if name not in others]
            for name in chosen:
                by_check[name].append(edit)
    for name, its in by_check.items():
        entry = entries[name]
        entries[name] = entry._replace(observation=differences.apply(entry.observation, its))


def _search(entries: Mapping[str, Entry]) -> differences.Search:
    return differences.Search({name: one.observation for name, one in entries.items()})


def _written(recording: Recording, base: Recording | None) -> str:
    whole = dict(recording.entries)
    data: dict[str, Any] = {
        "format": FORMAT,
        "release": recording.release,
        "engine": recording.engine,
        "platform": recording.platform,
        "features": list(recording.features),
    }
    if base is not None:
        data["base"] = base.name
        data["gone"] = _names(base.entries.keys() - recording.entries.keys())
        changed: defaultdict[Edit, list[str]] = defaultdict(list)
        for name, before in base.entries.items():
            after = recording.entries.get(name)
            if after is None or after.digest != before.digest:
                continue
            edits = differences.between(before.observation, after.observation)
            if edits is not None:
                del whole[name]
                for edit in edits:
                    changed[edit].append(name)
        kept = {name: base.entries[name] for name in recording.entries.keys() - whole.keys()}
        data["changes"] = _changes(changed, kept)
    checks: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for name, entry in sorted(whole.items()):
        group, _, own = name.partition(": ")
        checks[group][own] = {"digest": entry.digest, **_lined(entry.observation)}
    data[CHECKS] = checks
    # Lone surrogates stand for bytes that are not UTF-8, and only an escape can hold them.
    shown = json.dumps(data, ensure_ascii=False, indent=1)
    return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in shown) + "\n"


def _changes(changed: Mapping[Edit, list[str]], kept: Mapping[str, Entry]) -> list[dict[str, Any]]:
    """The edits with their checks, what changes most of them first."""
    together: dict[str, dict[str, Any]] = {}
    search = _search(kept)
    for edit, names in sorted(changed.items(), key=lambda one: (-len(one[1]), repr(one[0]))):
        others = set(search.names(edit)) - set(names)
        is_wide = 4 * len(others) < len(names)
        where = {EVERYWHERE_BUT: _names(others)} if is_wide else {CHECKS: _names(names)}
        change = together.setdefault(json.dumps(where), {"edits": [], **where})
        change["edits"].append({name: _lined(value) for name, value in edit._asdict().items()})
    return list(together.values())


def _names(ids: Iterable[str]) -> Names:
    names: Names = {}
    for one in sorted(ids):
        group, _, name = one.partition(": ")
        names.setdefault(group, []).append(name)
    return names


def _ids(names: Mapping[str, Iterable[str]]) -> Iterator[str]:
    return (f"{group}: {name}" for group, own in names.items() for name in own)


def _lined(value: Any) -> Any:
    """`value` with its texts of several lines as lists of lines."""
    if isinstance(value, dict):
        return {name: _lined(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_lined(part) for part in value]
    if isinstance(value, str) and "\n" in value[:-1]:
        *lines, last = value.split("\n")
        return {"lines": [*(f"{line}\n" for line in lines), *([last] if last else [])]}
    return value


def _plain(value: Any) -> Any:
    """The opposite of `_lined`."""
    if isinstance(value, dict):
        if value.keys() == {"lines"}:
            return "".join(value["lines"])
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value
