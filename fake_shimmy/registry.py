"""Which models there are, and what a request's model name means.

Strategy: two maps as in the real one, registered and discovered, that may overlap. Everything
that the real one iterates from a hash map comes out shuffled here too, so that nobody relies on
an order that does not exist.
"""

from __future__ import annotations

import os

from fake_shimmy import discovery, rust, templates
from fake_shimmy.scan import DiscoveredModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeVar

    T = TypeVar("T")

BASE_MODEL = "tinyllama-1.1b"
"""The name that ``SHIMMY_BASE_GGUF`` registers, whatever the file (seen on 2.5.0 CPU-only)."""


class ModelSpec:
    """A model as an engine gets it. ``template`` is a template name, or nothing if unknown."""

    __slots__ = ("lora_path", "name", "path", "template")

    def __init__(
        self, name: str, path: str, template: str | None, lora_path: str | None = None
    ) -> None:
        self.name = name
        self.path = path
        self.template = template
        self.lora_path = lora_path


class Registry:
    """The models of one process."""

    def __init__(self, environ: Mapping[str, str], warn: list[str]) -> None:
        self.registered: dict[str, ModelSpec] = {}
        self.discovered = discovery.by_name(discovery.discover(environ, warn))
        base = rust.variable(environ, "SHIMMY_BASE_GGUF")
        if base is not None:
            lora = rust.variable(environ, "SHIMMY_LORA_GGUF")
            self.register(ModelSpec(BASE_MODEL, base, "chatml", lora))

    def register(self, spec: ModelSpec) -> None:
        """Add a model; the same name replaces."""
        self.registered[spec.name] = spec

    def register_discovered(self) -> None:
        """Copy the discovered models whose names are still free into the registered ones."""
        for name, model in self.discovered.items():
            self.registered.setdefault(name, _spec_of(model))

    def names(self) -> list[str]:
        """All names, sorted by bytes."""
        return sorted({*self.registered, *self.discovered}, key=rust.os_path)

    def lookup(self, name: str) -> ModelSpec | None:
        """The model that exactly this name means."""
        spec = self.registered.get(name)
        if spec is not None:
            return spec
        model = self.discovered.get(name)
        return None if model is None else _spec_of(model)


def register_file(registry: Registry, path: str) -> str:
    """Register the file of ``--model-path`` and return the name it got."""
    name = rust.file_name(path)
    stem = None if name is None else rust.split_extension(name)[0]
    label = "direct-model" if stem is None or not rust.is_utf8(stem) else stem
    registry.register(ModelSpec(label, path, None))
    return label


def shuffled(items: Iterable[T]) -> list[T]:
    """The items in an order that differs from call to call, as a hash map's does."""
    return sorted(items, key=lambda _: os.urandom(4))


def _spec_of(model: DiscoveredModel) -> ModelSpec:
    template = templates.template_of_discovered(model.name)
    return ModelSpec(model.name, model.path, template, model.lora_path)
