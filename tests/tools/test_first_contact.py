"""From the README to a passed test of an own application, with nothing but what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import demand
from tools import distribution, first_contact

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distribution.build(tmp_path_factory.mktemp("dist"))[0]


@pytest.fixture
def dependencies() -> Path:
    """Installed packages that the plugin needs, and not the plugin."""
    demand(environments.RECIPES)
    (found,) = environments.directory(environments.RECIPES).rglob("site-packages")
    return found


def test_the_readme_leads_to_a_passed_test_of_an_own_application(
    wheel: Path, dependencies: Path, tmp_path: Path
) -> None:
    steps = [step.what for step in first_contact.walk(str(wheel), tmp_path, dependencies)]
    assert steps[0] == "pip install pytest-shimmy"
    assert steps[-1] == "pytest -q"
    assert len(steps) <= 6, "a file or two, and one command"
    # The application has a model name of its own, and nothing of this plugin.
    application = (tmp_path / "project" / steps[1]).read_text()
    assert "gpt-4o" in application
    assert "shimmy" not in application


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("shimmy_model = gpt-4o", "shimmy_model = other"), "pytest -q ended with 1"),
        (("usefixtures = shimmy_env", ""), "pytest -q ended with 1"),
        (("pip install pytest-shimmy", "pip install shimmy"), "does not say 'pip install"),
        (("```console", "```text"), "no command that shows a passed test"),
    ],
)
def test_a_readme_that_leads_elsewhere_is_found_out(
    wheel: Path,
    dependencies: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[str, str],
    reason: str,
) -> None:
    readme = tmp_path / "README.md"
    text = first_contact.README.read_text()
    assert change[0] in text
    readme.write_text(text.replace(*change))
    monkeypatch.setattr(first_contact, "README", readme)
    with pytest.raises(first_contact.StepFailedError, match=reason):
        list(first_contact.walk(str(wheel), tmp_path, dependencies))
