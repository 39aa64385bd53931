"""Which models there are, and what a request's model name means.

Strategy: two maps as in the real one, registered and discovered, that may overlap. Everything
that the real one iterates from a hash map comes out shuffled here too, so that no test relies on
an order that does not exist.
"""

from __future__ import annotations

import os

from fake_shimmy import rust
from fake_shimmy.models import discovery
from fake_shimmy.models.scan import DiscoveredModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeVar

    from fake_shimmy.releases import Release

    T = TypeVar("T")


class ModelSpec:
    """A model as an engine gets it. ``template`` is a template name, or None if unknown."""

    __slots__ = ("chat_template", "context_length", "lora_path", "name", "path", "template")

    def __init__(
        self,
        name: str,
        path: str,
        template: str | None,
        lora_path: str | None,
        context_length: int,
        chat_template: str | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.template = template
        self.lora_path = lora_path
        self.context_length = context_length
        """In tokens."""
        self.chat_template = chat_template
        """The template in the model's file; None if it has none, or the engine does not read it."""

    def with_chat_template(self, chat_template: str) -> ModelSpec:
        """The same model, for an engine that reads the template in its file."""
        return ModelSpec(
            self.name, self.path, self.template, self.lora_path, self.context_length, chat_template
        )

    def debug(self, with_chat_template: bool) -> str:
        """``{:?}`` of the specification, as the log shows it."""
        lora_path, template, chat_template = (
            "None" if text is None else f"Some({rust.debug(text)})"
            for text in (self.lora_path, self.template, self.chat_template)
        )
        return (
            f"ModelSpec {{ name: {rust.debug(self.name)}, base_path: {rust.debug(self.path)}, "
            f"lora_path: {lora_path}, template: {template}, "
            + (f"chat_template: {chat_template}, " if with_chat_template else "")
            + f"ctx_len: {self.context_length}, n_threads: None }}"
        )


class Registry:
    """The models of one process, as ``release`` finds and names them.

    ``template_of`` reads the template in a model's file, where each lookup does that.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        warn: list[str],
        release: Release,
        template_of: Callable[[str], str | None] | None = None,
    ) -> None:
        self._release = release
        self._template_of = template_of
        self.registered: dict[str, ModelSpec] = {}
        self.discovered = discovery.by_name(discovery.discover(environ, warn, release))
        self.context_length = release.context_length
        if release.reads_context_length:
            value = rust.variable(environ, "SHIMMY_MAX_CTX")
            self.context_length = _context_length(value, release.context_length)
        base = rust.variable(environ, "SHIMMY_BASE_GGUF")
        base = release.base_path if base is None else base
        if base is not None:
            lora = rust.variable(environ, "SHIMMY_LORA_GGUF")
            self.register(ModelSpec(release.base_model, base, "chatml", lora, self.context_length))

    def register(self, spec: ModelSpec) -> None:
        """Add a model; the same name replaces."""
        self.registered[spec.name] = spec

    def register_discovered(self) -> None:
        """Copy the discovered models whose names are still free into the registered ones."""
        for name, model in self.discovered.items():
            self.registered.setdefault(name, self._spec_of(model))

    def names(self) -> list[str]:
        """All names, sorted by bytes."""
        return sorted({*self.registered, *self.discovered}, key=rust.os_path)

    def lookup(self, name: str) -> ModelSpec | None:
        """The model that exactly this name means."""
        spec = self.registered.get(name)
        if spec is None:
            model = self.discovered.get(name)
            spec = None if model is None else self._spec_of(model)
        if spec is not None and self._template_of is not None:
            template = self._template_of(spec.path)
            if template is not None:
                spec = spec.with_chat_template(template)
        return spec

    def without_models(self) -> Registry:
        """The same registry, in which no name is found."""
        from copy import copy  # for a script alone

        empty = copy(self)
        empty.registered, empty.discovered = {}, {}
        return empty

    def _spec_of(self, model: DiscoveredModel) -> ModelSpec:
        template = template_of_discovered(model.name, self._release.llama3_words)
        return ModelSpec(model.name, model.path, template, model.lora_path, self.context_length)


def template_of_discovered(name: str, llama3_words: tuple[str, ...]) -> str:
    """The template name that discovery gives a model by its name."""
    lower = name.lower()
    return "llama3" if any(word in lower for word in llama3_words) else "chatml"


def register_file(registry: Registry, path: str) -> str:
    """Register the file of ``--model-path`` and return the name it got."""
    name = rust.file_name(path)
    stem = None if name is None else rust.split_extension(name)[0]
    label = "direct-model" if stem is None or not rust.is_utf8(stem) else stem
    registry.register(ModelSpec(label, path, None, None, registry.context_length))
    return label


def shuffled(items: Iterable[T]) -> list[T]:
    """The items in an order that differs from call to call, as a hash map's does."""
    return sorted(items, key=lambda _: os.urandom(4))


def _context_length(value: str | None, default: int) -> int:
    """What ``SHIMMY_MAX_CTX`` asks for, if it is a number in its range."""
    digits = (value or "").removeprefix("+")
    if not (digits.isascii() and digits.isdigit()) or len(digits.lstrip("0")) > 6:
        return default
    length = int(digits.lstrip("0") or 0)
    return length if 512 <= length <= 131_072 else default
