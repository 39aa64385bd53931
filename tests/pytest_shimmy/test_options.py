"""`ShimmyProcessOptions`: normalised once, refused when invalid, whole in JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy import ShimmyProcessDefaults, ShimmyProcessOptions

PATHS = st.text(min_size=1) | st.builds(Path, st.from_regex(r"[a-z/]{1,9}", fullmatch=True))
DIRECTORIES = PATHS.filter(lambda path: ";" not in str(path))
OPTIONS = st.builds(
    ShimmyProcessOptions,
    shimmy_path=st.none() | PATHS,
    fake_version=st.none() | st.text(),
    preferred_port=st.none() | st.integers(1, 65535),
    host=st.text(),
    models_dir=DIRECTORIES | st.lists(DIRECTORIES),
    model_path=st.none() | PATHS,
    args=st.lists(st.text()),
    gpu_mode=st.sampled_from(["auto", "cpu", "cuda"]),
    health_timeout=st.none() | st.floats(1e-3, 1e6),
    env=st.dictionaries(st.text(), st.none() | st.text()),
    max_restarts=st.integers(0),
    port_attempts=st.none() | st.integers(1),
    restarts_counted=st.sampled_from(["for_life", "since_ready"]),
    retry_first_start=st.booleans(),
    cwd=st.none() | PATHS,
    log_path=st.none() | PATHS,
)


@pytest.mark.slow
@given(OPTIONS)
def test_survive_json(options: ShimmyProcessOptions) -> None:
    assert ShimmyProcessOptions(**json.loads(json.dumps(options.to_json()))) == options


def test_that_mean_the_same_are_equal() -> None:
    assert ShimmyProcessOptions(
        shimmy_path=Path("/x/shimmy"), models_dir=Path("/m"), args=["--ctx", "512"], env={"A": "1"}
    ) == ShimmyProcessOptions(
        shimmy_path="/x/shimmy", models_dir=["/m"], args=("--ctx", "512"), env={"A": "1"}
    )


def test_cannot_be_changed() -> None:
    options = ShimmyProcessOptions()
    with pytest.raises(AttributeError, match="frozen"):
        options.preferred_port = 1  # type: ignore[misc]


def test_do_not_follow_the_lists_they_were_made_from() -> None:
    args, env = ["--ctx"], {"A": "1"}
    options = ShimmyProcessOptions(args=args, env=env)
    args.append("512")
    env["B"] = "2"
    assert options.args == ("--ctx",)
    assert options.env == {"A": "1"}


def test_are_keywords_only() -> None:
    with pytest.raises(TypeError):
        ShimmyProcessOptions("/x/shimmy")  # type: ignore[misc]


def test_are_shown_without_the_environment() -> None:
    shown = repr(ShimmyProcessOptions(args=["--ctx", "512"], env={"PASSWORD": "hunter2"}))
    assert shown.startswith("ShimmyProcessOptions(shimmy_path=None, ")
    assert "args=('--ctx', '512')" in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("preferred_port", 0),
        ("preferred_port", -1),
        ("preferred_port", 65536),
        ("max_restarts", -1),
        ("health_timeout", 0),
        ("health_timeout", -0.1),
        ("health_timeout", math.nan),
    ],
)
def test_that_cannot_be_meant_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} {value}"):
        ShimmyProcessOptions(**{name: value})


@pytest.mark.parametrize("value", ["/a;b", ["/a", Path("/b;c")]])
def test_a_directory_that_shimmy_would_take_for_two_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"models_dir .* separator"):
        ShimmyProcessOptions(models_dir=value)


def test_arguments_as_one_text_are_refused() -> None:
    with pytest.raises(TypeError, match="args is one text, '--ctx 5': give a list"):
        ShimmyProcessOptions(args="--ctx 5")


def test_the_environment_is_the_base_with_additions_and_removals() -> None:
    options = ShimmyProcessOptions(env={"ADDED": "1", "CHANGED": "new", "GONE": None, "NONE": None})
    base = {"CHANGED": "old", "GONE": "x", "KEPT": "y"}
    assert options.environment(base) == {"ADDED": "1", "CHANGED": "new", "KEPT": "y"}
    assert base == {"CHANGED": "old", "GONE": "x", "KEPT": "y"}


def test_an_empty_variable_is_not_a_removed_one() -> None:
    assert ShimmyProcessOptions(env={"A": ""}).environment({"A": "x"}) == {"A": ""}


def test_the_fake_gets_less_time_than_a_real_executable() -> None:
    fake, real = ShimmyProcessOptions(), ShimmyProcessOptions(shimmy_path="shimmy")
    assert fake.start_timeout == ShimmyProcessDefaults.start_timeout_fake
    assert real.start_timeout == ShimmyProcessDefaults.start_timeout_real
    assert ShimmyProcessOptions(health_timeout=1.5).start_timeout == 1.5
