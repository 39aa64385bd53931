"""What a client sees, told as JSON; shared by the scenario programs that are written in Python.

Strategy: a program is ``PROGRAM URL MODEL BROKEN``: a server, a model that answers and one that
never loads. A scenario is a function, by its name; what it returns, yields or raises and what it
warns of becomes its record. The one JSON object ``{scenario: record}`` goes to stdout and nothing
else does, whatever a client prints. Nothing but the standard library: each program runs in its
client's own environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import sys
import traceback
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

URL, MODEL, BROKEN = sys.argv[1:4]
HI = [{"role": "user", "content": "Hi"}]
Record = dict[str, Any]

_scenarios: dict[str, Callable[[], Any]] = {}


def scenario(function: Callable[[], Any]) -> Callable[[], Any]:
    """A scenario, ordinary or async."""
    return add(function.__name__, function)


def add(name: str, function: Callable[[], Any]) -> Callable[[], Any]:
    """`function` as the scenario `name`."""
    assert name not in _scenarios, name
    _scenarios[name] = function
    return function


def shared_calls() -> dict[str, tuple[str, dict[str, Any]]]:
    """Method and arguments of the calls that all clients of OpenAI's API are asked to make."""
    text = Path(__file__).with_name("openai_calls.json").read_text()
    text = text.replace('"MODEL"', json.dumps(MODEL)).replace('"BROKEN"', json.dumps(BROKEN))
    return {name: (method, arguments) for name, (method, arguments) in json.loads(text).items()}


def main() -> None:
    """Run the scenarios and print their records."""
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        records = asyncio.run(_all())
    json.dump(records, out, indent=1)


async def _all() -> dict[str, Record]:
    return {name: await _record(function) for name, function in _scenarios.items()}


async def _record(function: Callable[[], Any]) -> Record:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function()
            if inspect.isawaitable(result):
                record = await _outcome(await result, _read_async)
            else:
                record = await _outcome(result, _read)
        except Exception as error:
            record = failure(error)
    # A finalizer runs when it likes, so what it warns of says nothing about the server.
    told = [w for w in caught if not issubclass(w.category, ResourceWarning)]
    if told:
        record["warnings"] = [f"{w.category.__name__}: {w.message}" for w in told]
    return record


async def _outcome(result: Any, read: Callable[[Any], AsyncIterator[Any]]) -> Record:
    """The record of a result; a stream is read to its end, or to its failure."""
    kind = type(result).__name__
    value = told(result)
    if isinstance(value, dict):
        return {"type": kind, **value}
    if value is None or isinstance(value, str | int | list):
        return {"type": kind, "value": value}
    items: list[Any] = []
    record: Record = {"type": kind, "items": items}
    try:
        async for item in read(result):
            items.append(told(item))
    except Exception as error:
        record |= failure(error)
    return record


async def _read(stream: Any) -> AsyncIterator[Any]:
    """The items of an ordinary stream; some streams are both kinds and can be read as one only."""
    for item in stream:
        yield item


async def _read_async(stream: Any) -> AsyncIterator[Any]:
    """The items of what a coroutine gave."""
    async for item in stream:
        yield item


def told(value: Any) -> Any:
    """`value` as JSON has it, as far as that is known; else `value` itself."""
    for method in ("to_dict", "model_dump"):
        if hasattr(value, method):
            return getattr(value, method)(mode="json")
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, Mapping):
        return {key: told(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [told(item) for item in value]
    return value


def failure(error: Exception) -> Record:
    """The record of an exception: what an ``except`` clause can find out about it."""
    kind = type(error)
    record: Record = {
        "raises": f"{kind.__module__.partition('.')[0]}.{kind.__name__}",
        "message": str(error),
    }
    for name in ("status_code", "code", "param", "body"):
        # Only what is stored: properties may be deprecated, and warn.
        if vars(error).get(name) is not None:
            record[name] = told(vars(error)[name])
    if error.__cause__ is not None:
        record["cause"] = type(error.__cause__).__name__
    traceback.print_exception(error, limit=-1, chain=False, file=sys.stderr)
    return record


def headers(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers without the date."""
    return {name.lower(): value for name, value in items if name.lower() != "date"}
