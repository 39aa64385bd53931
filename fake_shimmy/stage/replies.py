"""The model layer of a script: engines and models that say what was scripted.

Strategy: a real engine is asked first, so what would not load does not load; around what it gives
is put a model that says the scripted reply, or what the model says anyway, and marks the tokens
for those who time and count them.
"""

from __future__ import annotations

from fake_shimmy.models import reply
from fake_shimmy.models.engine import Engine, GenerationError, LoadedModel, LoadError
from fake_shimmy.wire.steps import END, TOKEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fake_shimmy.models.engine import Outcome
    from fake_shimmy.models.registry import ModelSpec
    from fake_shimmy.stage.scripted_request import ScriptedRequest
    from fake_shimmy.wire.steps import Step

_WEBSOCKET_END = "[DONE]"
"""The token that is not sent there, and ends the answer."""


class StagedEngine(Engine):
    """``engine`` as the script of one request wants it."""

    def __init__(self, engine: Engine, request: ScriptedRequest) -> None:
        self._engine = engine
        self._request = request

    def load(self, spec: ModelSpec) -> LoadedModel:
        model = self._engine.load(spec)
        self._request.loads(spec.name)
        if self._request.failure == "load_failed":
            raise LoadError("scripted failure")
        return _StagedModel(model, self._request)


class _StagedModel(LoadedModel):
    def __init__(self, model: LoadedModel, request: ScriptedRequest) -> None:
        self._model = model
        self._request = request

    def generate(self, prompt: str, max_tokens: int, user_text: str) -> str:
        request = self._request
        tokens = self._scripted(max_tokens)
        if tokens is None:
            text = self._model.generate(prompt, max_tokens, user_text)
            request.total = self.count(text)
            return text
        request.total = len(tokens)
        return "".join(tokens)

    def tokens(self, text: str) -> Iterable[str]:
        return self._model.tokens(text)

    def count(self, text: str) -> int:
        return self._model.count(text)

    def outcome(self, prompt: str, said: int, max_tokens: int) -> Outcome | None:
        return self._model.outcome(prompt, said, max_tokens)

    def stream(self, prompt: str, max_tokens: int, user_text: str) -> Iterator[str | Step]:
        scripted = self._scripted(max_tokens)
        if scripted is None:
            is_timed = self._request.is_timed
            for piece in self._model.stream(prompt, max_tokens, user_text):
                if isinstance(piece, str):
                    yield TOKEN
                    yield piece
                elif not is_timed:
                    yield piece
        else:
            for token in scripted:
                if token == _WEBSOCKET_END and not self._request.speaks_http:
                    break
                yield TOKEN
                yield token
        yield END

    def _scripted(self, max_tokens: int) -> list[str] | None:
        """The tokens that the script says; None where it says nothing. Raises
        :class:`GenerationError` where that is what it says."""
        request = self._request
        if request.failure == "generation_failed":
            raise GenerationError("scripted failure")
        scripted = request.reply
        if scripted is None:
            return None
        if isinstance(scripted, str):
            scripted = reply.tokenize(scripted) if scripted else []
        return scripted[:max_tokens]
