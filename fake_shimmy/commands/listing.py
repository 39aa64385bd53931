"""``list`` and ``discover``.

Strategy: whatever the real one takes from a hash map is printed in an order that changes from run
to run, as there.
"""

from __future__ import annotations

from fake_shimmy import rust
from fake_shimmy.models import discovery
from fake_shimmy.models.registry import shuffled
from fake_shimmy.rust import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from fake_shimmy.models.registry import Registry
    from fake_shimmy.models.scan import DiscoveredModel
    from fake_shimmy.releases import Release

_NOT_LLM = (
    "clip",
    "text-to-image",
    "vision",
    "image",
    "video",
    "audio",
    "tts",
    "stt",
    "embedding",
    "encoder",
)


def print_models(registry: Registry, short: bool) -> None:
    """Print the models that there are; only their names if ``short``."""
    names = registry.names()
    if short:
        for name in names:
            console.out(name)
        return
    if registry.registered:
        console.out("📋 Registered Models:")
        for spec in shuffled(registry.registered.values()):
            console.out(f"  {spec.name} => {rust.debug(spec.path)}")
    if registry.discovered:
        if registry.registered:
            console.out("")
        console.out("🔍 Auto-Discovered Models:")
        for model in shuffled(registry.discovered.values()):
            console.out(f"  {model.name} => {rust.debug(model.path)} {_bracket(model)}")
    if names:
        console.out(f"\n✅ Total available models: {len(names)}")
    else:
        console.out("❌ No models found. Set SHIMMY_BASE_GGUF or place .gguf files in ./models/")


def print_search(environ: Mapping[str, str], release: Release, llm_only: bool) -> None:
    """Search anew and print what was found."""
    console.out("🔍 Refreshing model discovery...")
    # The search at start-up is not reused: the real one searches twice, warnings included.
    models = list(discovery.by_name(search(environ, release)).values())
    if llm_only:
        models = [m for m in models if not any(word in m.name.lower() for word in _NOT_LLM)]
        console.out("🎯 Filtering to LLM models only...")
    if models:
        console.out(f"✅ Found {len(models)} models:")
        for model in shuffled(models):
            lora = " + LoRA" if model.lora_path is not None else ""
            console.out(f"  {model.name} [{model.size_bytes >> 20}MB{lora}]")
            console.out(f"    Base: {rust.debug(model.path)}")
            if model.lora_path is not None:
                console.out(f"    LoRA: {rust.debug(model.lora_path)}")
    elif llm_only:
        console.out("❌ No LLM models found after filtering")
        console.out("💡 Try running without --llm-only to see all models")
    else:
        console.out("❌ No models found in search paths:")
        for path in discovery.search_paths(environ, release):
            console.out(f"   • {rust.debug(path)}")
        console.out("   • Ollama models (if installed)")
        console.out("\n💡 Try downloading a GGUF model or setting SHIMMY_BASE_GGUF")


def search(environ: Mapping[str, str], release: Release) -> list[DiscoveredModel]:
    """The models that are in the folders now; warnings go to stderr."""
    warnings: list[str] = []
    found = discovery.discover(environ, warnings, release)
    for line in warnings:
        console.err(line)
    return found


def _bracket(model: DiscoveredModel) -> str:
    traits = [trait for trait in (model.parameter_count, model.quantization) if trait]
    shown = f" ({'·'.join(traits)})" if traits else ""
    lora = " + LoRA" if model.lora_path is not None else ""
    return f"[{model.size_bytes >> 20}MB{shown}{lora}]"
