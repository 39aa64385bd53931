"""Replaying in a test process: from files to the fake, and what was missed."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from fake_shimmy.script.same_request import Sameness
from fake_shimmy.script.timed_answer import AskedRequest, Recording

from ..errors import ShimmyError
from ..fake_control.connection import Control
from .folder import Folder
from .run import CassetteRun

SHOWN_LINES = 60
"""Lines of a difference that a report shows."""


class Miss(NamedTuple):
    """A request without a recording."""

    cassette: str
    request: AskedRequest
    nearest: Recording | None
    """The recording that differs least."""
    difference: list[str]
    """In what, line by line."""


class Served(NamedTuple):
    """A fake that answers from recordings."""

    control: Control
    session: str
    number: int


class ReplayRun(CassetteRun):
    """Replays what this process asks, `speed` times as fast as recorded; 0 is at once."""

    def __init__(self, folder: Folder, key: str, environ: Mapping[str, str], speed: float) -> None:
        super().__init__(folder, key, environ)
        self._speed = speed
        self._served: list[Served] = []
        self._kept: list[Miss] = []
        """Of servers that have ended."""
        self._loaded: dict[str, list[Recording]] = {}
        self._numbers: dict[tuple[str, int], list[int]] = {}
        """Which exchanges of a cassette a server was given."""
        self._used: dict[str, int] = {}
        self.used: dict[str, set[int]] = {}
        """By cassette, the numbers of its exchanges that were asked for in this run."""

    def add(self, url: str, token: str, number: int) -> None:
        """Answer from recordings there; `number` is 0 for the shared server.

        Raises `ShimmyError`.
        """
        # A server of the test's own is its alone, whatever key it is asked with.
        session = "" if number else self.key
        control = Control(url, token)
        rules = {name: list(value) for name, value in self.folder.rules._asdict().items()}
        rules["secrets"] = list(self.secrets().texts)
        control.ask("open", session=session)
        control.ask("replay", session=session, rules=rules, speed=self._speed)
        served = Served(control, session, number)
        self._served.append(served)
        for name in dict.fromkeys(self._names):
            self._load(served, name)
        self._switched()

    def remove(self, number: int) -> None:
        """That server of the test's own ends."""
        for served in [each for each in self._served if each.number == number]:
            self._kept += self._collect(served)
            served.control.close()
            self._served.remove(served)

    def enter(self, name: str, *, again: bool = False) -> None:
        if not again:
            cassette = self.folder.read(name)
            self._loaded[name] = [] if cassette is None else cassette.exchanges
            if cassette is not None:
                self.used.setdefault(name, set())
            for served in self._served:
                self._load(served, name)
        super().enter(name)

    def misses(self) -> list[Miss]:
        """What was asked since the last time, and was not recorded. Raises `ShimmyError`."""
        kept, self._kept = self._kept, []
        return kept + [miss for served in self._served for miss in self._collect(served)]

    def finish(self, name: str, *, is_shared: bool) -> None:
        """A test is over: count what was not asked for, unless others may ask for it."""
        if is_shared:
            return
        left = len(self._loaded.pop(name, ())) - self._used.pop(name, 0)
        self.counts = self.counts._replace(unused=self.counts.unused + max(left, 0))

    def close(self) -> None:
        """Nothing more is asked."""
        for served in self._served:
            with contextlib.suppress(ShimmyError):  # the fake has ended
                self._kept += self._collect(served)
            served.control.close()
        self._served.clear()

    def _load(self, served: Served, name: str) -> None:
        loaded = self._loaded.get(name, ())
        mine = [at for at, each in enumerate(loaded) if each.server == served.number]
        self._numbers[name, served.number] = mine
        exchanges = [loaded[at].document() for at in mine]
        served.control.ask("cassette", session=served.session, name=name, exchanges=exchanges)

    def _switched(self) -> None:
        for served in self._served:
            served.control.ask("cassette", session=served.session, name=self.current)

    def _collect(self, served: Served) -> list[Miss]:
        answer = served.control.ask("replayed", session=served.session)
        for name, used in answer["used"].items():
            self._used[name] = self._used.get(name, 0) + len(used)
            numbers = self._numbers.get((name, served.number), [])
            self.used.setdefault(name, set()).update(numbers[each] for each in used)
        replayed = sum(map(len, answer["used"].values()))
        found = [self._miss(each["cassette"], each["request"]) for each in answer["missed"]]
        self.counts = self.counts._replace(
            replayed=self.counts.replayed + replayed, missed=self.counts.missed + len(found)
        )
        return found

    def _miss(self, name: str, document: dict[str, Any]) -> Miss:
        secrets = self.secrets()
        request = secrets.request(AskedRequest(**document))
        nearest, difference = nearest_to(request, self._loaded.get(name, ()), secrets.sameness)
        return Miss(name, request, nearest, difference)


def nearest_to(
    request: AskedRequest, recordings: list[Recording] | tuple[Recording, ...], sameness: Sameness
) -> tuple[Recording | None, list[str]]:
    """The recording whose request differs least, and in what: lines that are only in the
    recording have ``-``, those of the request ``+``."""
    wanted = _lines(request, sameness)
    best: tuple[float, Recording] | None = None
    for recording in recordings:
        lines = _lines(recording.request, sameness)
        ratio = difflib.SequenceMatcher(None, lines, wanted, autojunk=False).ratio()
        if best is None or ratio > best[0]:
            best = ratio, recording
    if best is None:
        return None, []
    lines = _lines(best[1].request, sameness)
    found = list(difflib.unified_diff(lines, wanted, "recorded", "asked", lineterm="", n=2))
    return best[1], found[:SHOWN_LINES]


def _lines(request: AskedRequest, sameness: Sameness) -> list[str]:
    facts = sameness.facts(request)
    if later := sameness.later_messages(request):
        facts["later messages"] = later
    return json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False).splitlines()
