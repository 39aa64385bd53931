"""A suite with a mistake in each test. Type checkers see the line that is marked "seen", and so
does a run; the line that is marked "run" only a run sees."""

from __future__ import annotations

import pytest

from pytest_shimmy import (
    FakeShimmy,
    MakeShimmyServer,
    Settings,
    ShimmyProcessManager,
    ShimmyProcessOptions,
    ShimmyServer,
)
from pytest_shimmy.outcomes import Garble


def test_a_setting_that_is_misspelt(make_shimmy_server: MakeShimmyServer) -> None:
    make_shimmy_server(max_restart=0)  # seen


def test_a_setting_of_another_kind(make_shimmy_server: MakeShimmyServer) -> None:
    make_shimmy_server(max_restarts="none")  # seen


def test_a_setting_that_is_no_choice(make_shimmy_server: MakeShimmyServer) -> None:
    make_shimmy_server(gpu="cdua")  # seen


def test_a_setting_in_order(make_shimmy_server: MakeShimmyServer) -> None:
    make_shimmy_server(0)  # seen


def test_a_setting_that_is_out_of_range(make_shimmy_server: MakeShimmyServer) -> None:
    make_shimmy_server(port=0)  # run


def test_faults_that_are_none(make_shimmy_server: MakeShimmyServer) -> None:
    make_shimmy_server(faults="slow")  # seen


def test_a_fault_that_there_is_not(make_shimmy_server: MakeShimmyServer) -> None:
    make_shimmy_server(faults={"start_deley": 1})  # run


def test_settings_that_are_changed(shimmy_settings: Settings) -> None:
    shimmy_settings.but(scope="everywhere")  # seen


@pytest.fixture
def prepared(make_shimmy_server: MakeShimmyServer) -> ShimmyServer:
    return make_shimmy_server(start_timout=1)  # seen


def test_a_fixture_of_the_suite(prepared: ShimmyServer) -> None:
    assert prepared


def test_damage_that_there_is_not(shimmy_fake: FakeShimmy) -> None:
    shimmy_fake.garble("nonsense")  # seen


def test_damage_in_a_list(shimmy_fake: FakeShimmy) -> None:
    shimmy_fake.answers([Garble("missing_done", at="ende")])  # seen


def test_a_failure_that_there_is_not(shimmy_fake: FakeShimmy) -> None:
    shimmy_fake.fail("model_missing")  # seen


def test_a_cut_that_there_is_not(shimmy_fake: FakeShimmy) -> None:
    shimmy_fake.drop(how="abort")  # seen


def test_a_place_that_there_is_not(shimmy_fake: FakeShimmy) -> None:
    shimmy_fake.hang(at="middle")  # seen


def test_an_endpoint_that_there_is_not(shimmy_fake: FakeShimmy) -> None:
    shimmy_fake.reply("x", endpoint="chats")  # seen


def test_an_option_that_is_misspelt(shimmy_fake: FakeShimmy) -> None:
    shimmy_fake.reply("x", tmies=1)  # seen


def test_a_condition_that_is_misspelt(shimmy_fake: FakeShimmy) -> None:
    shimmy_fake.assert_no_requests(usr="France")  # seen


def test_two_ways_to_crash(make_shimmy_server: MakeShimmyServer) -> None:
    fake = make_shimmy_server().fake
    fake.crash(status=1, signal="SIGKILL")  # seen


def test_a_position_that_is_none(shimmy_fake: FakeShimmy) -> None:
    shimmy_fake.drop(-1)  # run


def test_a_crash_of_a_server_that_others_use(shimmy_fake: FakeShimmy) -> None:
    shimmy_fake.crash()  # run


def test_a_fake_that_others_use(shimmy_server: ShimmyServer) -> None:
    shimmy_server.fake.reply("x")  # run


def test_a_script_with_a_mistake(shimmy_fake: FakeShimmy) -> None:
    shimmy_fake.script({"rule": []})  # run


def test_an_event_that_there_is_not() -> None:
    ShimmyProcessManager().on("restarted", print)  # seen


def test_an_event_that_there_is_not_once() -> None:
    ShimmyProcessManager().once("restarted", print)  # seen


def test_a_backend_that_there_is_not() -> None:
    ShimmyProcessOptions(gpu_mode="cdua")  # seen


def test_an_argument_that_is_there_already() -> None:
    ShimmyProcessOptions(args=["serve"])  # run
