"""A host with a prompt: turn the model's server on and off, see its state, talk to the model.

    python tui.py --models DIRECTORY --shimmy shimmy

Without --shimmy, the bundled fake answers. Commands can also come from a file or a pipe. It needs
nothing but the standard library and pytest-shimmy.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import threading
from collections.abc import Iterator
from urllib.request import ProxyHandler, Request, build_opener

from pytest_shimmy import ModelRegistry, ShimmyError, ShimmyProcessManager, ShimmyProcessOptions

HELP = """\
on, off     start and stop the server
models      list the models
use MODEL   talk to this one
quit        leave
Anything else is said to the model; Ctrl-C cuts its answer short."""

DIRECT = build_opener(ProxyHandler({}))  # no proxy can reach a server of our own

Message = dict[str, str]


def stream(url: str, model: str, messages: list[Message]) -> Iterator[str]:
    """The pieces of a chat answer. Raises `OSError` or `http.client.HTTPException`."""
    body = json.dumps({"model": model, "messages": messages, "stream": True})
    request = Request(
        f"{url}/v1/chat/completions", body.encode(), {"content-type": "application/json"}
    )
    with DIRECT.open(request) as answer:
        for line in answer:
            if line.startswith(b"data: [DONE]"):
                return
            if line.startswith(b"data: "):
                yield json.loads(line[6:])["choices"][0]["delta"]["content"] or ""
    raise ConnectionError("the answer breaks off")


class Host:
    """The application: one server, one conversation."""

    def __init__(self, registry: ModelRegistry, options: ShimmyProcessOptions) -> None:
        self.registry, self.options = registry, options
        self.model: str | None = None
        self.messages: list[Message] = []
        self.screen = threading.Lock()
        self.prompt = ""
        self.manager = ShimmyProcessManager()
        self.manager.on("starting", lambda _: self.show("· starting"))
        self.manager.on("ready", lambda _: self.show(f"· ready at {self.manager.url}"))
        self.manager.on("restarting", lambda _: self.show("· restarting"))
        self.manager.on("stopped", lambda _: self.show("· stopped"))
        self.manager.on("error", lambda it: self.show(f"· failed: {it.error}"))

    def show(self, line: str) -> None:
        """A line of its own. Listeners call this from their thread, perhaps during a prompt."""
        with self.screen:
            clear = "\r\x1b[K" if self.prompt else ""
            print(f"{clear}{line}\n{self.prompt}", end="", flush=True)

    def run(self) -> None:
        """Do what is typed, until there is no more."""
        commands = {"on": self.on, "off": self.off, "models": self.models, "help": self.help}
        with self.manager:
            while (line := self.read()) not in (None, "quit"):
                word, _, rest = line.partition(" ")
                try:
                    if word == "use":
                        self.use(rest.strip())
                    elif line in commands:
                        commands[line]()
                    elif line:
                        self.chat(line)
                except ShimmyError as error:
                    self.show(str(error))
                except (OSError, http.client.HTTPException) as error:
                    self.show(f"No answer: {error}")
                except KeyboardInterrupt:
                    self.show("")

    def read(self) -> str | None:
        """The next line; None at the end."""
        self.prompt = "> " if sys.stdin.isatty() else ""
        try:
            return input(self.prompt).strip()
        except (EOFError, KeyboardInterrupt):
            return None
        finally:
            self.prompt = ""

    def on(self) -> None:
        self.manager.start(self.options)

    def off(self) -> None:
        self.manager.stop()

    def models(self) -> None:
        for model in self.registry.list_local():
            self.show(f"{'*' if model.is_default else ' '} {model.id}  {model.path}")

    def use(self, model: str) -> None:
        if self.registry.find(model) is None:
            self.show(f"There is no model {model!r}. Say: models")
        else:
            self.model = model

    def help(self) -> None:
        self.show(HELP)

    def chat(self, text: str) -> None:
        if self.manager.state == "idle":
            self.show("It is off. Say: on")
            return
        self.manager.ensure_ready()
        default = self.registry.default()
        model = self.model or (default.id if default else "")
        question = {"role": "user", "content": text}
        answer = ""
        for piece in stream(self.manager.url or "", model, [*self.messages, question]):
            print(piece, end="", flush=True)
            answer += piece
        print(flush=True)
        self.messages += [question, {"role": "assistant", "content": answer}]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shimmy", metavar="PATH", help="the executable (default: the fake)")
    parser.add_argument("--models", metavar="DIRECTORY", default="models", help="where models are")
    chosen = parser.parse_args()
    Host(
        ModelRegistry(chosen.shimmy, chosen.models),
        ShimmyProcessOptions(shimmy_path=chosen.shimmy, models_dir=chosen.models),
    ).run()


if __name__ == "__main__":
    main()
