"""The model layer of a script: models that say what was scripted.

Strategy: around what a real engine has loaded is put a model that says the scripted reply, or what
the model says anyway, and marks the tokens for those who time and count them.
"""

from __future__ import annotations

from fake_shimmy.models import reply
from fake_shimmy.models.engine import GenerationError, LoadedModel
from fake_shimmy.wire.steps import END, TOKEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fake_shimmy.models.engine import Outcome
    from fake_shimmy.stage.scripted_request import ScriptedRequest
    from fake_shimmy.wire.steps import Step

_WEBSOCKET_END = "[DONE]"
"""The token that is not sent there, and ends the answer."""


class StagedModel(LoadedModel):
    """``model`` as the script of ``request`` wants it."""

    def __init__(self, model: LoadedModel, request: ScriptedRequest) -> None:
        self._model = model
        self._request = request

    def generate(self, prompt: str, max_tokens: int, user_text: str) -> str:
        request = self._request
        said = self._scripted()
        if said is None:
            text = self._model.generate(prompt, max_tokens, user_text)
            request.total = self.count(text)
            return text
        if isinstance(said, str):
            count = reply.count(said) if said else 0
            if count <= max_tokens:
                request.total = count
                return said
            said = reply.tokenize(said)
        request.total = min(len(said), max_tokens)
        return "".join(said[:max_tokens])

    def tokens(self, text: str) -> Iterable[str]:
        return self._model.tokens(text)

    def count(self, text: str) -> int:
        return self._model.count(text)

    def outcome(self, prompt: str, said: int, max_tokens: int) -> Outcome | None:
        return self._model.outcome(prompt, said, max_tokens)

    def stream(self, prompt: str, max_tokens: int, user_text: str) -> Iterator[str | Step]:
        said = self._scripted()
        if said is None:
            is_timed = self._request.is_timed
            for piece in self._model.stream(prompt, max_tokens, user_text):
                if isinstance(piece, str):
                    yield TOKEN
                    yield piece
                elif not is_timed:
                    yield piece
        else:
            tokens = reply.tokenize(said) if isinstance(said, str) and said else said
            for token in tokens[:max_tokens]:
                if token == _WEBSOCKET_END and not self._request.known.speaks_http:
                    break
                yield TOKEN
                yield token
        yield END

    def _scripted(self) -> str | list[str] | None:
        """The text or the tokens that the script says; None where it says nothing. Raises
        :class:`GenerationError` where that is what it says."""
        request = self._request
        if request.failure == "generation_failed":
            raise GenerationError("scripted failure")
        return request.reply
