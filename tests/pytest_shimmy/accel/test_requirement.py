"""When a test that needs a GPU does not run, and what it says then."""

from __future__ import annotations

import pytest

from pytest_shimmy.accel.readback import ServerGpu
from pytest_shimmy.accel.requirement import misnamed, unmet_before, unmet_by, worth_detecting
from pytest_shimmy.accel.result import AccelDetectorResult, Evidence, Finding, State


def machine(**states: State) -> AccelDetectorResult:
    return AccelDetectorResult(
        "cpu",
        "",
        {
            name: Finding(name, state, (), None, (Evidence(f"{name}-tool", 1, "said so", 0.1),))  # type: ignore[arg-type]
            for name, state in states.items()
        },
    )


NOTHING = machine(cuda="not found", vulkan="not found", metal="not found")


@pytest.mark.parametrize("wanted", [(), ("cuda",), ("cuda", "vulkan"), ("cpu",), ("dx12",)])
def test_names_that_exist_are_no_mistake(wanted: tuple[str, ...]) -> None:
    assert misnamed(wanted) is None


@pytest.mark.parametrize("wanted", [("CUDA",), ("cuda", "nvidia"), ("auto",), (1,), ("",)])
def test_a_name_that_does_not_exist_is_said(wanted: tuple[object, ...]) -> None:
    reason = misnamed(wanted)
    assert reason is not None
    assert f"no GPU backend {wanted[-1]!r}; there are cpu, cuda, " in reason


def test_a_machine_without_the_backend_is_said_with_the_evidence() -> None:
    reason = unmet_before(("cuda", "vulkan"), "real", "auto", detected=NOTHING)
    assert reason == (
        "needs a server that uses cuda or vulkan, which this machine does not have: "
        "cuda not found (cuda-tool (exit code 1): said so); "
        "vulkan not found (vulkan-tool (exit code 1): said so)"
    )
    assert "uses a GPU" in (unmet_before((), "real", "auto", detected=NOTHING) or "")


@pytest.mark.parametrize(
    ("wanted", "detected"),
    [
        (("cuda",), None),
        (("cuda",), machine(cuda="found", vulkan="not found")),
        (("cuda",), machine(cuda="could not tell")),
        (("cuda", "vulkan"), machine(cuda="not found", vulkan="found")),
        ((), machine(cuda="not found", vulkan="could not tell")),
        (("gl",), NOTHING),
        (("cuda", "gl"), NOTHING),
        (("cpu",), NOTHING),
        (("cuda", "cpu"), NOTHING),
    ],
)
def test_what_may_be_there_is_left_to_the_server(
    wanted: tuple[str, ...], detected: AccelDetectorResult | None
) -> None:
    assert unmet_before(wanted, "real", "auto", detected=detected) is None


@pytest.mark.parametrize("mode", ["real", "fake"])
@pytest.mark.parametrize(
    ("wanted", "requested", "fits"),
    [
        (("cuda",), "vulkan", False),
        (("cuda",), "cpu", False),
        ((), "cpu", False),
        (("cpu",), "cuda", False),
        (("cuda",), "cuda", True),
        (("cuda", "cpu"), "cpu", True),
        ((), "metal", True),
        ((), "auto", True),
    ],
)
def test_what_the_run_does_not_ask_for_needs_no_server_and_no_look(
    mode: str, wanted: tuple[str, ...], requested: str, fits: bool
) -> None:
    reason = unmet_before(wanted, mode, requested)
    assert (reason is None) is fits
    if reason is not None:
        assert f"this run asks for {requested} (--shimmy-gpu)" in reason
        assert not worth_detecting(wanted, mode, requested)


def test_an_attached_server_is_judged_by_itself_alone() -> None:
    assert unmet_before(("cuda",), "attached", "cpu", detected=NOTHING) is None


@pytest.mark.parametrize(
    ("wanted", "pretended", "fits"),
    [
        (("cuda",), ("cuda", "vulkan"), True),
        (("cuda",), (), False),
        ((), ("vulkan",), True),
        ((), (), False),
        (("metal",), ("vulkan",), False),
        (("cpu",), (), True),
        (("cuda",), None, True),
    ],
)
def test_with_the_fake_its_pretended_machine_counts(
    wanted: tuple[str, ...], pretended: tuple[str, ...] | None, fits: bool
) -> None:
    found = machine(cuda="found", metal="found")
    reason = unmet_before(wanted, "fake", "auto", detected=found, pretended=pretended)
    assert (reason is None) is fits
    if pretended == ():
        assert fits or "the fake's machine has no GPU" in (reason or "")


@pytest.mark.parametrize(
    ("wanted", "mode", "requested", "worth"),
    [
        (("cuda",), "real", "auto", True),
        ((), "real", "cuda", True),
        (("cpu",), "real", "auto", False),
        (("cuda",), "real", "cpu", False),
        (("cuda",), "fake", "auto", False),
        (("cuda",), "attached", "auto", False),
    ],
)
def test_the_machine_is_looked_at_only_where_that_can_decide(
    wanted: tuple[str, ...], mode: str, requested: str, worth: bool
) -> None:
    assert worth_detecting(wanted, mode, requested) is worth


@pytest.mark.parametrize(
    ("wanted", "in_use", "fits"),
    [
        (("cuda",), "cuda", True),
        (("cuda", "vulkan"), "vulkan", True),
        ((), "gl", True),
        (("cpu",), "cpu", True),
        (("cuda",), "cpu", False),
        ((), "cpu", False),
        (("cpu",), "cuda", False),
        (("cuda",), "vulkan", False),
    ],
)
def test_a_server_is_what_it_verifiably_uses(
    wanted: tuple[str, ...], in_use: str, fits: bool
) -> None:
    reason = unmet_by(wanted, ServerGpu("auto", in_use, True, "a line", "A Device"))
    assert (reason is None) is fits
    if reason is not None:
        assert f"this one uses {in_use} (A Device): a line" in reason


def test_a_silent_replacement_is_named_as_one() -> None:
    reason = unmet_by(("cuda",), ServerGpu("cuda", "cpu", True, "no device\noffloaded 0/23"))
    assert reason == (
        "needs a server that verifiably uses cuda, and this one uses cpu, though asked for cuda: "
        "no device | offloaded 0/23; to be had: cuda: a 1.x built with --features llama-cuda"
    )


@pytest.mark.parametrize("wanted", [(), ("cuda",), ("cpu",)])
@pytest.mark.parametrize("pending", [True, False])
def test_what_cannot_be_verified_is_never_enough(wanted: tuple[str, ...], pending: bool) -> None:
    gpu = ServerGpu("cuda", None, False, "not a word", pending=pending)
    assert unmet_by(wanted, gpu) == (
        f"needs a server that verifiably uses {' or '.join(wanted) or 'a GPU'}, and what this one "
        "uses could not be verified: not a word"
    )
