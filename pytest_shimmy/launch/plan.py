"""From settings to what is started: the options, and the files that are made for them."""

# No annotations as text: every run with a server loads this, see CONTRIBUTING.

import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..executable.executable import Executable
from ..options import CONTROL_TOKEN, EXCHANGES, SCRIPT, ShimmyProcessOptions
from ..run_report import parts
from ..settings import API_KEY_VARIABLE
from .hermetic import ACCESS, has_made_up_model, hermetic, made_up_id
from .target import Target
from .tiny_model import tiny_model

if TYPE_CHECKING:
    from ..models.registry import ModelRegistry


class Plan(NamedTuple):
    """What to start, in a directory of its own."""

    options: ShimmyProcessOptions
    files: Mapping[str, bytes] = {}
    """Path and content of each file to make first."""
    log_kept_anyway: bool = False
    """The log is where the user wants it: neither moved nor removed."""
    executable: Executable | None = None
    """The one that the options mean, where it is known."""
    recorder: Mapping[str, Any] | None = None
    """What stands in front of it; see `KeeperSpec.recorder`."""
    events: str | None = None
    """File in which the server's life is written down, for a report of the run."""

    def reported(self, directory: str, server: str) -> Self:
        """The same, with what a run report in `directory` needs of the server called `server`."""
        # Only the fake reads it; a real server's exchanges are not seen.
        env = {**self.options.env, EXCHANGES: parts.exchanges_of(directory, server)}
        events = str(Path(directory) / f"server-{server}.jsonl")
        options = ShimmyProcessOptions(**{**self.options.to_json(), "env": env})
        return self._replace(options=options, events=events)


def plan(
    target: Target,
    directory: Path,
    script: Mapping[str, Any] | None = None,
    *,
    cwd: str | None = None,
) -> Plan:
    """How to start `target` in `directory`, which is the plan's alone.

    `script` is for the fake. A real executable starts in `cwd` (default: the present directory),
    where it looks for ``./models``; the fake starts in `directory`.
    """
    settings, executable = target
    log_path = directory / "server.log"
    if settings.log_dir is not None:
        now = time.strftime("%Y%m%d-%H%M%S")
        log_path = Path(settings.log_dir) / f"shimmy-{settings.mode}-{now}-{directory.name}.log"
    common: dict[str, Any] = {
        "preferred_port": settings.port,
        "models_dir": settings.models_dir,
        "model_path": settings.model_file,
        "args": settings.args,
        "gpu_mode": settings.gpu[0],
        "health_timeout": settings.start_timeout,
        "max_restarts": settings.max_restarts,
        "log_path": log_path,
    }
    files: dict[str, bytes] = {}
    if has_made_up_model(settings):
        model = tiny_model(executable)
        common["model_path"] = str(directory / f"{made_up_id(settings)}{model.suffix}")
        common["args"] = (*settings.args, *model.arguments)
        files[common["model_path"]] = model.content
    kept_anyway = settings.log_dir is not None
    recorder = None
    if settings.record is not None:
        is_fake = settings.mode == "fake"
        recorder = {
            "upstream": settings.url,
            "server_key": settings.server_key(),
            "knows_keys": is_fake,
        }
    if settings.mode == "attached":  # only to be recorded
        options = ShimmyProcessOptions(log_path=log_path)
        return Plan(options, {}, kept_anyway, None, recorder)
    access: dict[str, str | None] = {**ACCESS, API_KEY_VARIABLE: settings.server_key()}
    if settings.mode == "real":
        options = ShimmyProcessOptions(
            **common,
            shimmy_path=settings.path,
            env={**access, **dict(settings.env)},
            cwd=cwd or Path.cwd(),
        )
        return Plan(options, files, kept_anyway, executable, recorder)
    script_path = settings.fake_script
    if script is not None:
        script_path = str(directory / "script.json")
        files[script_path] = json.dumps(script).encode()
    env = {
        **hermetic(directory),
        **access,
        SCRIPT: script_path,
        CONTROL_TOKEN: secrets.token_hex(16),
        **executable.env,
    }
    options = ShimmyProcessOptions(
        **common, fake_version=executable.version, env=env, cwd=directory
    )
    return Plan(options, files, kept_anyway, executable, recorder)


def registry(target: Target, home: Path, *, cwd: str | None = None) -> "ModelRegistry":
    """The models that `target` finds. The fake finds those in `home`, its own directory, where the
    model is put that is made for it; a real one those of the user, starting in `cwd`.
    """
    from ..models.registry import OWN_DIRECTORY, ModelRegistry

    settings, executable = target
    env: Mapping[str, str | None] = executable.env
    if executable.is_fake:
        env, cwd = {**hermetic(home), **env}, str(home)
        if has_made_up_model(settings):
            model = tiny_model(executable)
            own = home.joinpath(*OWN_DIRECTORY)
            own.mkdir(parents=True, exist_ok=True)
            (own / f"{made_up_id(settings)}{model.suffix}").write_bytes(model.content)
    return ModelRegistry(
        settings.path,
        settings.models_dir,
        fake_version=executable.version if executable.is_fake else None,
        env=env,
        cwd=cwd or Path.cwd(),
        executable=executable,
    )
