"""A session on a fake: opened, reset and closed, and asked for what came. The lower half of
`FakeShimmy`; needs no pytest."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, Unpack
from urllib.parse import quote

from fake_shimmy.script.matching import differences
from fake_shimmy.script.rules import When
from fake_shimmy.script.shapes import COUNT, SECONDS, Flag

from ..errors import ShimmyError, is_ours, misused
from ..executable.dialect import API_KEY, HARNESS_KEY
from ..masking import credentials, masked
from . import journal as journals
from .client_report import Amount, ClientReport, Watch
from .conditions import (
    Conditions,
    WhenLike,
    argument_errors,
    in_words,
    read_when,
    when_document,
)
from .connection import NEVER, NO_SESSION, Control, refused
from .journal import Journal, RecordedRequest
from .message_file import MessageFile

__tracebackhide__ = is_ours

HARNESS_KEYS = f"{API_KEY}-"
"""What the API keys of test processes begin with."""


class FakeSession:
    """What was asked with one API key; with the key ``""``, all that has no session of its own.

    A context manager that opens the session and closes it. Thread-safe.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        key: str = "",
        seed: int | None = None,
        strict_fidelity: bool = False,
        control: Control | None = None,
        messages: MessageFile | None = None,
    ) -> None:
        """`control` is a line to that fake which others use, too. Its owner closes it, and calls
        `Control.settle` before anybody counts on it that a session has ended. `messages` is for
        what needs no answer."""
        self.server_url = url
        """Address of the fake, without a path."""
        self.api_key = key
        """The key whose requests are answered and recorded."""
        self.url = f"{url}/~{quote(key)}" if key else url
        """Address for code that cannot set an API key; without a path."""
        self.base_url = f"{self.url}/v1"
        """The same, as OpenAI clients want it."""
        self.seed = seed if seed is not None else 0
        """Random seed for chance and jitter; drawn by the fake where none was given."""
        self.strict_fidelity = strict_fidelity
        """Rules are refused whose answers no shimmy gives."""
        self._given_seed = seed
        self._owns_control = control is None
        self._control = control or Control(url, token)
        self._messages = messages
        self._number: int | None = None
        """What the fake calls the session where it notes what it is asked."""
        self._strict = False
        self._own_rules: set[int] = set()
        self._judges = False
        """A rule can fail the test: by what it expects, or by a slow regular expression."""
        self._next_rule = 1
        """The number that the fake gives to the next rule."""
        self._begun_reset: Callable[[], dict[str, Any]] | None = None
        self._watches: list[Watch] = []
        self._adding = threading.Lock()

    def __enter__(self) -> Self:
        try:
            self.reset()
        except BaseException:
            self._hang_up()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.server_url}>"

    def reset(self) -> None:
        """Forget rules, counters, journal and settings. Raises `ShimmyError`."""
        if self._begun_reset is not None:
            self._end_reset()
        elif not self._reset_by_file():
            self._open({})

    def _begin_reset(self) -> None:
        """Ask for a reset, and do not wait; whatever is asked next does. Raises `ShimmyError`."""
        if self._reset_by_file():
            return
        self._begun_reset = self._control.begin(
            "open", session=self.api_key, script=self._with_seed({})
        )

    def _end_reset(self) -> None:
        begun, self._begun_reset = self._begun_reset, None
        if begun is not None:
            self._opened({}, begun()["seed"])

    def close(self) -> None:
        """End the session; its requests are answered as if nothing had been scripted."""
        self._number = None
        with contextlib.suppress(ShimmyError):
            self._end_reset()
            if self._messages is not None and self._messages.write("close"):
                return
        if not self._owns_control:
            self._control.tell("close", session=self.api_key)
            return
        with contextlib.suppress(ShimmyError):  # the server has ended, and the session with it
            self._control.ask("close", session=self.api_key)
        self._hang_up()

    def _hang_up(self) -> None:
        if self._owns_control:
            self._control.close()

    # What came

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request, oldest first, with what has become of it by now."""
        return self.journal().records

    @property
    def last_request(self) -> RecordedRequest:
        """The newest request."""
        __tracebackhide__ = True
        journal = self.journal()
        if not journal.records:
            raise _failure(["no request came", *self._stray_lines(journal)], journal)
        return journal.records[-1]

    def matching(
        self, when: WhenLike | None = None, **conditions: Unpack[Conditions]
    ) -> list[RecordedRequest]:
        """The requests that meet the conditions, oldest first."""
        return self.journal().matching(read_when(when, conditions, "matching()"))

    def assert_requested(
        self,
        when: WhenLike | None = None,
        *,
        count: int | None = None,
        **conditions: Unpack[Conditions],
    ) -> RecordedRequest:
        """Assert that a request met the conditions (exactly `count` did); returns the newest."""
        __tracebackhide__ = True
        if count == 0:
            raise misused("assert_requested(): for a count of 0 there is assert_no_requests()")
        if count is not None:
            with argument_errors("assert_requested()"):
                COUNT.read(count, ("count",))
        wanted = read_when(when, conditions, "assert_requested()")
        if count is None and (noted := self._noted(wanted)) is not None:
            return noted
        journal = self.journal()
        found = journal.matching(wanted)
        if found and count in (None, len(found)):
            return found[-1]
        if found:
            head = f"{journals.count(len(found), 'request')} came as wanted, not {count}"
            body = journals.listed(found, in_words(when_document(when, conditions)))
        else:
            head = "no request came as wanted"
            body = journals.miss(journal, wanted, in_words(when_document(when, conditions)))
        raise _failure([head, *body, *self._stray_lines(journal)], journal, wanted)

    def assert_no_requests(
        self, when: WhenLike | None = None, **conditions: Unpack[Conditions]
    ) -> None:
        """Assert that no such request came; without conditions, none at all."""
        __tracebackhide__ = True
        wanted = read_when(when, conditions, "assert_no_requests()")
        journal = self.journal()
        found = journal.matching(wanted)
        if found:
            head = f"{journals.count(len(found), 'request')} came, and none should have"
            body = journals.listed(found, in_words(when_document(when, conditions)))
            raise _failure([head, *body], journal, wanted)

    def wait_for_request(
        self,
        when: WhenLike | None = None,
        *,
        count: int = 1,
        timeout: float = 5.0,
        finished: bool = True,
        **conditions: Unpack[Conditions],
    ) -> RecordedRequest:
        """Wait until `count` such requests came (and their answers are over, if `finished`), for
        code that calls in the background; returns the newest. Raises `AssertionError`."""
        __tracebackhide__ = True
        wanted = read_when(when, conditions, "wait_for_request()")
        with argument_errors("wait_for_request()"):
            COUNT.read(count, ("count",))
            SECONDS.read(timeout, ("timeout",))
            Flag().read(finished, ("finished",))
        document = when_document(when, conditions)
        answer = self._ask(
            "wait", timeout, when=document, count=count, seconds=timeout, finished=finished
        )
        journal = self._journal_of(answer)
        found = journal.matching(wanted)
        if not answer.get("timed_out"):
            return [each for each in found if not (finished and each.in_flight)][-1]
        if found:
            over = sum(not each.in_flight for each in found)
            fate = f", {over} of them finished" if finished else ""
            head = f"{len(found)} of {count} requests came as wanted within {timeout:g} s{fate}"
            body = journals.listed(found, in_words(document))
        else:
            head = f"no request came as wanted within {timeout:g} s"
            body = journals.miss(journal, wanted, in_words(document))
        raise _failure([head, *body, *self._stray_lines(journal)], journal, wanted)

    def journal(self) -> Journal:
        """Everything that the fake knows about this session. Raises `ShimmyError`."""
        return self._journal_of(self._ask("journal"))

    # What the client did

    def client_report(self) -> ClientReport:
        """What the client did: retries, pauses, hang-ups, truncated answers."""
        return ClientReport.of(self.requests, self._watches)

    @contextlib.contextmanager
    def watch_client(self) -> Iterator[Watch]:
        """Watch whether the code in this block raises, which is how it would say that it noticed
        a truncated answer. What it raises goes on; `pytest.raises` belongs around this block."""
        watch = Watch(first=self._newest() + 1)
        self._watches.append(watch)
        try:
            yield watch
        except BaseException as error:
            watch.raised = error
            raise
        finally:
            with contextlib.suppress(ShimmyError):
                records = self.requests
                watch.last = records[-1].id if records else 0
                mine = [record for record in records if watch.covers(record)]
                watch.report = ClientReport.of(mine, [watch])

    def assert_client(
        self,
        *,
        retries: Amount | None = None,
        min_pause: float | None = None,
        max_pause: float | None = None,
        hung_up_after: Amount | None = None,
        noticed_truncation: bool = False,
    ) -> ClientReport:
        """Assert what the client did: how often it retried, after which pauses (seconds), after
        how many tokens it hung up, that it noticed a truncated answer. Amounts are numbers, or
        ranges."""
        __tracebackhide__ = True
        for name, amount in (("retries", retries), ("hung_up_after", hung_up_after)):
            if not isinstance(amount, int | range | None):
                raise misused(
                    f"assert_client(): {name}: {amount!r} is neither a number nor a range"
                )
        with argument_errors("assert_client()"):
            for name, pause in (("min_pause", min_pause), ("max_pause", max_pause)):
                if pause is not None:
                    SECONDS.read(pause, (name,))
        report = self.client_report()
        complaints = report.complaints(
            retries=retries,
            min_pause=min_pause,
            max_pause=max_pause,
            hung_up_after=hung_up_after,
            noticed_truncation=noticed_truncation,
        )
        if complaints:
            raise AssertionError("\n".join([*complaints, "what the client did:", str(report)]))
        return report

    # For the plugin and the upper half

    def leftovers(self) -> list[str]:
        """What a test must not leave: requests that are not what a script expects; and a strict
        one: requests that no rule matched, rules and faults that were not used."""
        if not (self._strict or self._judges):
            return []
        try:
            journal = self.journal()
        except ShimmyError:
            if self.api_key:
                raise
            return []  # a server that the test has ended
        lines = _broken_in(journal)
        if self._strict and (strict := self._leftovers_in(journal)):
            lines += ["the test was strict, and:", *strict]
        return lines

    def _leftovers_in(self, journal: Journal) -> list[str]:
        lines = [
            f"no rule matched number {record.id}: {record.text()}\n  nearest: {record.nearest}"
            for record in journal.records
            if record.unmatched
        ]
        lines += [
            f"number {record.id}: this was said and did not happen: {', '.join(record.unfired)}"
            for record in journal.records
            if record.unfired
        ]
        for rule in journal.rules:
            if rule["id"] in self._own_rules and (rule["left"] or not rule["used"]):
                left = f", {rule['left']} left" if rule["left"] is not None else ""
                lines.append(f"not used up: {rule['name']} ({_used(rule['used'])}{left})")
        return lines + self._stray_lines(journal) if lines else []

    def report(self) -> list[str]:
        """The session in short, for the report of a failing test."""
        journal = self.journal()
        lines = journal.lines() + journal.remarks() + _slow_in(journal)
        leftovers = self._leftovers_in(journal) if self._strict else []
        lines += leftovers or self._stray_lines(journal)
        if journal.is_random:
            lines.append(f"seed {journal.seed}; give it back with --shimmy-seed={journal.seed}")
        return lines

    def _open(self, script: Mapping[str, Any]) -> None:
        self._end_reset()
        document = self._with_seed(script)
        number = {} if self._messages is None else {"number": self._messages.next_number()}
        answer = self._control.ask("open", session=self.api_key, script=document, **number)
        self._number = number.get("number")
        self._opened(document, answer["seed"])

    def _reset_by_file(self) -> bool:
        """Whether a reset needed no question."""
        messages = self._messages
        if messages is None:
            return False
        document = self._with_seed({})
        seed = document.get("seed", messages.seed)
        if seed is None:
            seed = document["seed"] = int.from_bytes(os.urandom(4))
        number = messages.next_number()
        if not messages.write("open", script=document, number=number):
            return False
        self._number = number
        self._opened(document, seed)
        return True

    def _with_seed(self, script: Mapping[str, Any]) -> dict[str, Any]:
        seed = {} if self._given_seed is None else {"seed": self._given_seed}
        return {**seed, **script}

    def _opened(self, document: Mapping[str, Any], seed: int) -> None:
        self.seed = seed
        self._strict = bool(document.get("strict", False))
        # They are numbered from 1, in their order.
        self._judges = judges(document.get("rules", ()))
        count = len(document.get("rules", ()))
        self._own_rules = set(range(1, count + 1))
        # The fake numbers the rules of its own script after these.
        self._next_rule = 1 + count + (0 if self._messages is None else self._messages.rules)
        self._watches.clear()

    def _added(self, rule: Mapping[str, Any]) -> int:
        """The number of a rule that the fake follows from now on."""
        with self._adding:
            if self._messages is not None and self._messages.write("add", rule=rule):
                number = self._next_rule
            else:
                number = self._ask("add", rule=rule)["id"]
            self._next_rule = number + 1
        return number

    def _noted(self, wanted: When) -> RecordedRequest | None:
        """The newest request that is as wanted; None where the fake has to be asked."""
        if self._messages is None or self._number is None:
            return None
        for document in reversed(self._messages.records(self._number)):
            record = RecordedRequest.from_json(document)
            if not differences(wanted.conditions, record.facts):
                return record
        return None

    def _ask(self, op: str, patience: float = 0.0, **members: Any) -> dict[str, Any]:
        self._end_reset()
        try:
            return self._control.ask(op, patience=patience, session=self.api_key, **members)
        except ShimmyError as error:
            if error.details.get("refusal") != NO_SESSION:
                raise
            raise refused(
                "the fake knows nothing of this test any more: it was restarted since, or the "
                "test is over, and with that its rules and its journal are gone",
                NO_SESSION,
            ) from None

    def _journal_of(self, answer: Mapping[str, Any]) -> Journal:
        fresh = answer["stray_count"] - answer["stray_before"]
        newest = answer["stray"][-fresh:] if fresh > 0 and self.api_key else []
        # Those of the other test processes are theirs.
        strays = [each for each in newest if not each["key"].startswith(HARNESS_KEYS)]
        journal = Journal(answer, strays)
        if not self.api_key:  # all traffic, but for our own
            ours = f"Bearer {HARNESS_KEY}"
            journal.records = [
                each for each in journal.records if each.headers.get("authorization") != ours
            ]
        return journal

    def _newest(self) -> int:
        records = self.requests
        return records[-1].id if records else 0

    def _counters(self) -> list[dict[str, Any]]:
        rules: list[dict[str, Any]] = self._ask("journal", after=NEVER)["rules"]
        return rules

    def _stray_lines(self, journal: Journal) -> list[str]:
        return journal.stray_lines(self.base_url, self.api_key)


def judges(rules: Any) -> bool:
    """Whether any of these rules can fail the test: it expects something, or has a pattern."""
    # A pattern stands in a condition, at whatever depth.
    return any(
        "expect" in each or (each.get("when") and '"matches": ' in json.dumps(each["when"]))
        for rule in rules
        for each in (rule, *rule.get("answers", ()))
    )


def _broken_in(journal: Journal) -> list[str]:
    """What fails any test."""
    lines = [
        f"number {record.id} is not what was expected: {record.nearest}"
        for record in journal.records
        if record.unexpected
    ]
    return lines + _slow_in(journal)


def _slow_in(journal: Journal) -> list[str]:
    return [
        f"{rule['name']}: to search for {rule['slow']!r} took more than 50 ms, and was given up. "
        "Change the regular expression."
        for rule in journal.rules
        if rule["slow"] is not None
    ]


def _used(times: int) -> str:
    return {0: "never used", 1: "used once"}.get(times, f"used {times} times")


def _failure(lines: list[str], journal: Journal, wanted: When | None = None) -> AssertionError:
    """The failure of an assertion on requests, without what they had as credentials."""
    headers = [pair for record in journal.records for pair in record.headers.pairs]
    for name, matcher in (wanted.headers if wanted is not None else {}).items():
        headers += [
            (name, text) for text in (matcher.contains, matcher.equals) if isinstance(text, str)
        ]
    return AssertionError(masked("\n".join(lines), credentials(headers)))
