"""`ShimmyError`: one error for everything, whole on the other side of every boundary."""

from __future__ import annotations

import copy
import errno
import json
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pytest_shimmy
from pytest_shimmy import ShimmyError, ShimmyErrorCode, ShimmyUsageError, is_shimmy_error_json
from pytest_shimmy.errors import system_refused

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ERRORS = st.builds(
    lambda code, *rest: (ShimmyUsageError if code == "USAGE_ERROR" else ShimmyError)(code, *rest),
    st.sampled_from(ShimmyErrorCode),
    st.text(),
    st.none() | st.dictionaries(st.text(), JSON_VALUES, max_size=4),
)


def whole(error: ShimmyError) -> tuple[object, ...]:
    return type(error), error.code, error.message, error.details, str(error)


@pytest.mark.slow
@given(ERRORS)
def test_pickles_whole(error: ShimmyError) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert whole(pickle.loads(pickle.dumps(error, protocol))) == whole(error)


@pytest.mark.slow
@given(ERRORS)
def test_copies_whole(error: ShimmyError) -> None:
    assert whole(copy.copy(error)) == whole(error)
    assert whole(copy.deepcopy(error)) == whole(error)


@pytest.mark.slow
@given(ERRORS)
def test_survives_json(error: ShimmyError) -> None:
    assert whole(ShimmyError.from_json(json.loads(json.dumps(error.to_json())))) == whole(error)


def test_keeps_details_that_were_added_after_it_was_made_when_it_pickles() -> None:
    error = ShimmyError(ShimmyErrorCode.START_FAILED, "x", {"a": 1})
    error.details["b"] = 2
    assert pickle.loads(pickle.dumps(error)).details == {"a": 1, "b": 2}


def test_owns_its_details() -> None:
    details = {"a": 1}
    error = ShimmyError(ShimmyErrorCode.START_FAILED, "x", details)
    details["a"] = 2
    assert error.details == {"a": 1}


def test_reads_as_code_and_message() -> None:
    error = ShimmyError(ShimmyErrorCode.NO_MODELS, "nothing to serve.\nGive it something.")
    assert str(error) == "[NO_MODELS] nothing to serve.\nGive it something."


@pytest.mark.parametrize("code", ShimmyErrorCode)
def test_codes_equal_their_names_as_text(code: ShimmyErrorCode) -> None:
    assert code == code.name == str(code) == f"{code}"


def test_has_every_promised_code() -> None:
    assert {
        "BINARY_NOT_FOUND",
        "BINARY_NOT_EXECUTABLE",
        "BINARY_NOT_SHIMMY",
        "PORT_IN_USE",
        "START_FAILED",
        "START_TIMEOUT",
        "HEALTHCHECK_FAILED",
        "RESTARTS_EXHAUSTED",
        "NO_MODELS",
        "MODEL_NOT_FOUND",
        "LIST_FAILED",
        "DOWNLOAD_FAILED",
        "UNSUPPORTED_ACCEL",
        "LOCK_TIMEOUT",
        "CONTROL_FAILED",
        "CLIENT_MISSING",
    } <= set(ShimmyErrorCode)


def test_every_code_is_raised_somewhere() -> None:
    package = Path(pytest_shimmy.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    assert [code for code in ShimmyErrorCode if f"ShimmyErrorCode.{code}" not in source] == []


def test_refuses_a_code_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="NOPE"):
        ShimmyError.from_json({"code": "NOPE", "message": "", "details": {}})


@pytest.mark.slow
@given(ERRORS)
def test_its_json_is_recognised_on_the_other_side(error: ShimmyError) -> None:
    value: object = json.loads(json.dumps(error.to_json()))
    assert is_shimmy_error_json(value)
    assert ShimmyError.from_json(value).code is error.code


@pytest.mark.parametrize(
    "value",
    [
        *(None, "START_FAILED", [], {}, {"code": "NO_MODELS"}, {"code": [], "message": "x"}),
        {"code": "NOPE", "message": "x", "details": {}},
        {"code": "NO_MODELS", "message": 1, "details": {}},
        {"code": "NO_MODELS", "message": "x", "details": []},
        {"error": {"code": "NO_MODELS", "message": "x", "details": {}}},
    ],
)
def test_other_json_is_not_taken_for_an_error(value: object) -> None:
    assert not is_shimmy_error_json(value)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "umask"),
        (errno.ENOENT, "cleaner of temporary files"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EAGAIN, "ulimit -u"),
        (errno.ENOSPC, "df -i"),
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.EIO, "limits and permissions"),
    ],
)
def test_what_the_system_refuses_is_said_with_what_to_do(number: int, advice: str) -> None:
    refused = OSError(number, os.strerror(number), "/there")
    error = system_refused("it could not be made", refused)
    said, _, to_do = error.message.partition("\n")
    assert said.startswith("it could not be made: ")
    assert os.strerror(number) in said
    assert "/there" in said
    assert advice in to_do
