"""Chat templates: how a conversation becomes the prompt text.

Strategy: each family is a row of format strings; rendering is one function over the row. A model's
own template wins, else the requested name decides, by rules that a release has. From 2.6.1 on there
is one way of rendering for all routes. Seen on CPU-only builds of 2.5.0 and 2.6.5, where the toy
engine echoes the prompt.
"""

from __future__ import annotations

from functools import lru_cache

from fake_shimmy.models import reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from fake_shimmy.models.registry import ModelSpec

    Messages: TypeAlias = list[tuple[str, str]]
    """Roles and contents."""


class Family:
    """One template family: the text around a message's role and content, what follows the last
    user input and what follows where there is none, and what precedes a system text that is no
    message (None where such a text is dropped). ``roles`` are those that have another name in it.
    """

    __slots__ = ("_around", "after_input", "before_system", "roles", "system_role", "without_input")

    def __init__(
        self,
        message: str,
        after_input: str,
        without_input: str,
        before_system: str | None,
        system_role: str = "system",
        roles: dict[str, str] | None = None,
    ) -> None:
        self._around = message.split("{}")
        self.after_input = after_input
        self.without_input = without_input
        self.before_system = before_system
        self.system_role = system_role
        self.roles = roles or {}

    def message(self, role: str, content: str) -> str:
        """A message as it stands in a prompt."""
        before, between, after = self._around
        return f"{before}{role}{between}{content}{after}"


CHATML = Family("<|im_start|>{}\n{}<|im_end|>\n", "<|im_start|>assistant\n", "", "")
LLAMA3 = Family(
    "<|start_header_id|>{}<|end_header_id|>\n{}<|eot_id|>",
    "<|start_header_id|>assistant<|end_header_id|>\n",
    "",
    "<|begin_of_text|>",
)
OPENCHAT = Family("{}: {}\n", "assistant: ", "assistant: ", None)
GEMMA = Family(
    "<start_of_turn>{}\n{}<end_of_turn>\n",
    "<start_of_turn>model\n",
    "<start_of_turn>model\n",
    "",
    system_role="user",
    roles={"assistant": "model"},
)

FAMILIES = {"chatml": CHATML, "llama3": LLAMA3, "gemma": GEMMA}


@lru_cache(maxsize=64)
def family_for(
    template: str | None, requested_name: str, rules: tuple[tuple[str, str], ...]
) -> Family:
    """The family for a model's ``template`` name, or for the name in the request: of the first of
    ``rules`` whose word is in it."""
    if template in FAMILIES:
        return FAMILIES[template]
    name = requested_name.lower()
    return next((FAMILIES[family] for word, family in rules if word in name), OPENCHAT)


def render(family: Family, history: Messages, user_input: str | None) -> str:
    """``history``, then the input and the assistant's header."""
    message, roles = family.message, family.roles
    parts = []
    for role, content in history:
        parts.append(message(roles.get(role, role), content))
    if user_input is None:
        parts.append(family.without_input)
    else:
        parts.append(message("user", user_input))
        parts.append(family.after_input)
    return "".join(parts)


def render_chat(family: Family, messages: Messages) -> str:
    """The prompt of a chat completion before 2.6.1.

    The last *user* message is the input; the history is everything but the last message, whatever
    its role, so a conversation that ends with the assistant loses that message and repeats the
    user's (seen on 2.5.0 CPU-only).
    """
    user_input = reply.user_text(messages)
    return render(family, messages if user_input is None else messages[:-1], user_input)


def render_conversation(family: Family, system: str | None, messages: Messages) -> str:
    """A prompt in which all messages are history."""
    opening = ""
    if system is not None and family.before_system is not None:
        opening = family.before_system + family.message(family.system_role, system)
    return opening + render(family, messages, None)


def render_for(
    spec: ModelSpec,
    name: str,
    rules: tuple[tuple[str, str], ...],
    system: str | None,
    messages: Messages,
) -> str:
    """The prompt of a conversation from 2.6.1 on, with the model that was asked for by ``name``."""
    own = _by_own_template(spec, name, system, messages)
    if own is not None:
        return own
    return render_conversation(family_for(spec.template, name, rules), system, messages)


def render_bare(spec: ModelSpec, name: str, rules: tuple[tuple[str, str], ...], prompt: str) -> str:
    """The prompt of a request that is no conversation, from 2.6.1 on: one message, unless the
    family has no structure to speak of (seen on 2.6.5 CPU-only)."""
    if not prompt:
        return prompt
    own = _by_own_template(spec, name, None, [("user", prompt)])
    if own is not None:
        return own
    family = family_for(spec.template, name, rules)
    return prompt if family is OPENCHAT else render(family, [], prompt)


def _by_own_template(
    spec: ModelSpec, name: str, system: str | None, messages: Messages
) -> str | None:
    """What the template in the model's file makes of it; None where there is none that works."""
    if spec.chat_template is None:
        return None
    from fake_shimmy.models import chat_template

    try:
        return chat_template.render(spec.chat_template, name, system, messages)
    except chat_template.TemplateError:
        return None
