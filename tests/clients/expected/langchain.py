"""What LangChain's ChatOpenAI and its relatives see."""

from __future__ import annotations

from tests.clients.expectations import ECHO, MISSING_MODEL, TEXT, TOKENS, WHOLE, Row, raises

_STREAM = {"value": ["", *TOKENS, "", ""]}
_MODEL_NOT_FOUND = "langchain_openai.OpenAIModelNotFoundError"
_INVALID_REQUEST = "langchain_openai.OpenAIInvalidRequestError"
LANGCHAIN = [
    Row(
        "invoke ainvoke",
        "`ChatOpenAI.invoke`, `ainvoke`",
        "work (LangChain sends `stream: false` itself); `usage_metadata` is all 0",
        {"content": TEXT, "usage_metadata": {"input_tokens": 0, "output_tokens": 0}},
    ),
    Row("stream astream", "`stream`, `astream`", "work", _STREAM),
    Row(
        "stream_added_up streaming_invoke",
        "the chunks added up; `streaming=True` and `invoke`",
        "work",
        {"content": "".join(TOKENS), "usage_metadata": None},
    ),
    Row(
        "stream_usage",
        "`stream_usage=True`",
        "no chunk has `usage_metadata`",
        {"value": [None] * 7},
        silent=True,
    ),
    Row(
        "events",
        "`astream_events`",
        "works",
        {
            "value": [
                "on_chat_model_start",
                *["on_chat_model_stream"] * 7,
                "on_chat_model_end",
            ]
        },
    ),
    Row(
        "batch",
        "`batch`",
        "works",
        {"value": [f"{ECHO}Input prompt: '<|im_start|>user\n<{n}>…" for n in range(5)]},
    ),
    Row(
        "abatch",
        "`abatch`",
        "works",
        {"value": [f"{ECHO}Input prompt: '<|im_start|>user\n<{n}>…" for n in range(20)]},
    ),
    Row(
        "system_message",
        "a `SystemMessage`",
        "works",
        {"value": f"{ECHO}Input prompt: '<|im_start|>system\nBe brief.<|im_end|>\n…"},
    ),
    Row(
        "max_tokens",
        "`max_tokens=`",
        "has no effect: it is sent as `max_completion_tokens`, which shimmy ignores",
        {"value": WHOLE},
        silent=True,
    ),
    Row(
        "max_tokens_in_extra_body",
        '`extra_body={"max_tokens": …}`',
        "works",
        {"value": TEXT},
    ),
    Row(
        "bind_tools",
        "`bind_tools`, also with `tool_choice`",
        "text; `tool_calls` is empty",
        {"content": TEXT, "tool_calls": []},
        silent=True,
    ),
    Row(
        "tool_conversation",
        "a conversation with a tool call in it",
        "`openai.UnprocessableEntityError`: LangChain sends the call's empty content as null",
        raises("openai.UnprocessableEntityError", status_code=422),
    ),
    Row(
        "structured_output_function_calling",
        '`with_structured_output(…, method="function_calling")`',
        "`None`",
        {"type": "NoneType", "value": None},
        silent=True,
    ),
    Row(
        "structured_output",
        "`with_structured_output` of a model",
        "`pydantic.ValidationError`, unless the model happens to answer with that JSON",
        raises("pydantic_core.ValidationError", "1 validation error for City"),
    ),
    Row(
        "structured_output_json_mode",
        '… with `method="json_mode"`',
        "`OutputParserException`, likewise",
        raises("langchain_core.OutputParserException", f"Invalid json output: {TEXT}"),
    ),
    Row(
        "unknown_model unknown_model_stream",
        "unknown model",
        "`OpenAIModelNotFoundError`, the message lists the models",
        raises(_MODEL_NOT_FOUND, MISSING_MODEL, cause="NotFoundError"),
    ),
    Row(
        "load_failure",
        "a model that does not load",
        "`OpenAIAPIError` 502",
        raises("langchain_openai.OpenAIAPIError", cause="InternalServerError"),
    ),
    Row(
        "no_messages",
        "no messages",
        "`OpenAIInvalidRequestError`",
        raises(_INVALID_REQUEST, "messages must not be empty"),
    ),
    Row(
        "max_tokens_0",
        '`extra_body={"max_tokens": 0}`',
        "`OpenAIInvalidRequestError`",
        raises(_INVALID_REQUEST, "max_tokens must be between 1 and 131072"),
    ),
    Row(
        "responses_api",
        "`use_responses_api=True`",
        "not there: `OpenAIModelNotFoundError`, although the model is not what is missing",
        raises(_MODEL_NOT_FOUND, body=""),
    ),
    Row(
        "completion_model",
        "`OpenAI(…).invoke` (the completions class)",
        "`openai.UnprocessableEntityError`: it sends a list of prompts",
        raises("openai.UnprocessableEntityError", status_code=422),
    ),
    Row(
        "completion_model_stream",
        "`OpenAI(…).stream`",
        "`ValueError: No generation chunks were returned`",
        raises("builtins.ValueError", "No generation chunks were returned"),
    ),
    Row(
        "embeddings",
        "`OpenAIEmbeddings`",
        "not there: `openai.NotFoundError`",
        raises("openai.NotFoundError", body=""),
    ),
]
