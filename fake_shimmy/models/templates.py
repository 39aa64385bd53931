"""Chat templates: how a conversation becomes the prompt text.

Strategy: each family is a row of format strings; rendering is one function over the row. A model's
own template wins, else the requested name decides (seen on 2.5.0 CPU-only, where the toy engine
echoes the prompt).
"""

from __future__ import annotations


class Family:
    """One template family: the text around a message, what follows the last user input, and what
    precedes a system text that is no message (nothing where such a text is dropped)."""

    __slots__ = ("after_input", "before_system", "message", "without_input")

    def __init__(
        self, message: str, after_input: str, without_input: str, before_system: str | None
    ) -> None:
        self.message = message
        self.after_input = after_input
        self.without_input = without_input
        self.before_system = before_system


CHATML = Family("<|im_start|>{}\n{}<|im_end|>\n", "<|im_start|>assistant\n", "", "")
LLAMA3 = Family(
    "<|start_header_id|>{}<|end_header_id|>\n{}<|eot_id|>",
    "<|start_header_id|>assistant<|end_header_id|>\n",
    "",
    "<|begin_of_text|>",
)
OPENCHAT = Family("{}: {}\n", "assistant: ", "assistant: ", None)

FAMILIES = {"chatml": CHATML, "llama3": LLAMA3}


def family_for(template: str | None, requested_name: str) -> Family:
    """The family for a model's ``template`` name, or for the name in the request."""
    if template in FAMILIES:
        return FAMILIES[template]
    name = requested_name.lower()
    if "qwen" in name or "chatglm" in name:
        return CHATML
    return LLAMA3 if "llama" in name else OPENCHAT


def template_of_discovered(name: str, llama3_words: tuple[str, ...]) -> str:
    """The template name that discovery gives a model by its name."""
    lower = name.lower()
    return "llama3" if any(word in lower for word in llama3_words) else "chatml"


def render(family: Family, history: list[tuple[str, str]], user_input: str | None) -> str:
    """``history`` as (role, content) pairs, then the input and the assistant's header."""
    parts = [family.message.format(role, content) for role, content in history]
    if user_input is None:
        parts.append(family.without_input)
    else:
        parts.append(family.message.format("user", user_input))
        parts.append(family.after_input)
    return "".join(parts)


def render_chat(family: Family, messages: list[tuple[str, str]]) -> str:
    """The prompt of a chat completion.

    The last *user* message is the input; the history is everything but the last message, whatever
    its role, so a conversation that ends with the assistant loses that message and repeats the
    user's (seen on 2.5.0 CPU-only).
    """
    user_input = next((text for role, text in reversed(messages) if role == "user"), None)
    return render(family, messages if user_input is None else messages[:-1], user_input)


def render_conversation(
    template: str | None, system: str | None, messages: list[tuple[str, str]]
) -> str:
    """The prompt of ``/api/generate``: all messages are history, and the requested name has no
    say (seen on 2.5.0 CPU-only)."""
    family = FAMILIES.get(template or "", OPENCHAT)
    opening = ""
    if system is not None and family.before_system is not None:
        opening = family.before_system + family.message.format("system", system)
    return opening + render(family, messages, None)
