"""One prompt, answered as it comes by a server that lives as long as that takes.

    python agent.py "Capital of France?" --models DIRECTORY --shimmy shimmy

Without --shimmy, the bundled fake answers.
"""

from __future__ import annotations

import argparse
import sys

import openai

from pytest_shimmy import ModelRegistry, ShimmyError, ShimmyProcessManager, ShimmyProcessOptions


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask a model on this machine.")
    parser.add_argument("prompt")
    parser.add_argument("--model", metavar="ID", help="default: the one that the registry says")
    parser.add_argument("--shimmy", metavar="PATH", help="the executable (default: the fake)")
    parser.add_argument("--models", metavar="DIRECTORY", default="models", help="where models are")
    chosen = parser.parse_args()
    registry = ModelRegistry(chosen.shimmy, chosen.models)
    options = ShimmyProcessOptions(shimmy_path=chosen.shimmy, models_dir=chosen.models)

    try:
        default = registry.default()
        if default is None:
            sys.exit(f"There is no model in {chosen.models}.")
        with ShimmyProcessManager() as manager:
            manager.start(options)
            manager.ensure_ready()
            answer(f"{manager.url}/v1", chosen.model or default.id, chosen.prompt)
    except (ShimmyError, openai.OpenAIError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def answer(base_url: str, model: str, prompt: str) -> None:
    direct = openai.DefaultHttpxClient(trust_env=False)  # no proxy can reach a server of our own
    with (
        openai.OpenAI(base_url=base_url, api_key="any", http_client=direct) as client,
        client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": prompt}], stream=True
        ) as chunks,
    ):
        for chunk in chunks:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()


if __name__ == "__main__":
    main()
