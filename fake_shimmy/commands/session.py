"""One run of one command: what was asked for, and what it finds.

Strategy: a release, a build and a command line decide on the engine once; the commands ask here.
"""

from __future__ import annotations

import sys

from fake_shimmy import machines, rust
from fake_shimmy.models import files
from fake_shimmy.releases import ADAPTER, AIRFRAME, LLAMA
from fake_shimmy.rust import backtrace, console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from fake_shimmy.commands.clap import Invocation
    from fake_shimmy.models.airframe import Files
    from fake_shimmy.models.engine import Engine
    from fake_shimmy.models.registry import Registry
    from fake_shimmy.releases import Build, Release
    from fake_shimmy.rust.tracing import Tracer
    from fake_shimmy.script.rules import Script
    from fake_shimmy.stage.life import Lifetime


class Session:
    """One run of one command."""

    def __init__(
        self,
        release: Release,
        build: Build,
        invocation: Invocation,
        environ: dict[str, str],
        tracer: Tracer,
        script: Script | None,
    ) -> None:
        self.release = release
        self.build = build
        self.invocation = invocation
        self.environ = environ
        self.tracer = tracer
        self.script = script
        self.lifetime: Lifetime | None = None
        if script is not None:
            from fake_shimmy.stage.life import Lifetime

            self.lifetime = Lifetime(script.life)
        self.engine_name = ADAPTER if invocation.flag("legacy") else build.engine
        self.has_airframe = self.engine_name == AIRFRAME
        self.backend = "cpu"
        """What llama.cpp is asked to use."""
        self._known_files: Files | None = None
        names = environ.get(files.VARIABLE)
        if names is not None:
            takes_safetensors = build.engine == ADAPTER or (
                self.engine_name == ADAPTER and not release.safetensors_only
            )
            files.make_up(
                filter(None, names.split(",")), ".safetensors" if takes_safetensors else ".gguf"
            )
        model_dirs, context = invocation.text("model-dirs"), invocation.number("ctx")
        if model_dirs is not None:
            environ["SHIMMY_MODEL_PATHS"] = model_dirs
        if context is not None:
            environ["SHIMMY_MAX_CTX"] = str(context)

    def engine(self) -> Engine:
        """The engine that this build and these flags choose."""
        from fake_shimmy.models import engine

        if self.has_airframe:
            return self._airframe()
        if self.engine_name == LLAMA:
            from fake_shimmy.models import llama

            found = machines.found_by_llama_cpp(
                machines.pretended(self.environ), self.build.backends
            )
            return llama.LlamaEngine(self.tracer, self._experts(), self.backend, found, console.err)
        keeps_airframe = self.build.engine == AIRFRAME and self.release.safetensors_only
        airframe = self._airframe() if keeps_airframe else None
        return engine.AdapterEngine(self.tracer, self.release.safetensors_only, airframe)

    def _airframe(self) -> Engine:
        from fake_shimmy.models import airframe

        files = self._files()
        usual = machines.ROOMY if files.engine.least_binding else machines.SOFTWARE
        machine = machines.pretended(self.environ) or usual
        limit = rust.variable(self.environ, "SHIMMY_MAX_CTX")
        return airframe.AirframeEngine(machine, files, limit)

    def _files(self) -> Files:
        if self._known_files is None:
            from fake_shimmy.models import airframe

            assert self.release.airframe is not None
            self._known_files = airframe.Files(self.release.airframe, console.out, console.err)
        return self._known_files

    def choose_backend(self) -> None:
        """Choose as is done when an engine is made, with what is logged then."""
        if self.engine_name == LLAMA:
            from fake_shimmy.models import backends

            asked = self.invocation.text("gpu-backend")
            self.backend = backends.choose(asked, self.build, self.environ, self.tracer)

    def _experts(self) -> str:
        """What a load logs about experts on the CPU."""
        count = self.invocation.number("n-cpu-moe")
        if count is not None:
            return f"MoE: Offloading first {count} expert layers to CPU"
        if self.invocation.flag("cpu-moe"):
            return "MoE: Offloading ALL expert tensors to CPU (saves ~80-85% VRAM)"
        return ""

    def fail(self, text: str, frames: tuple[str, ...]) -> NoReturn:
        """End with an error that the main function returned; ``frames`` are its origin."""
        console.err(f"Error: {text}{backtrace.of_error(self.environ, frames)}")
        sys.exit(1)

    def registry(self) -> Registry:
        """A fresh search for models; its warnings go to stderr."""
        from fake_shimmy.models.registry import Registry

        warnings: list[str] = []
        airframe = self.release.airframe if self.build.engine == AIRFRAME else None
        opens = airframe is not None and airframe.opens_at_lookup
        template_of = self._files().template if opens else None
        registry = Registry(self.environ, warnings, self.release, template_of)
        for line in warnings:
            console.err(line)
        return registry
