"""``GET /docs`` and ``GET /openapi.json``: what the server says of itself.

Strategy: the document is put together from rows, one per route and per schema, and sorted by key as
everything from ``json!``. It says what the real one says, and not what is so: ``stream_options`` is
not in it, and prompts are said to be required (seen on 2.6.5).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from fake_shimmy.api.context import Context
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

    Schema: TypeAlias = dict[str, Any]

_PAGE = b"""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>Shimmy API Documentation</title>
    <link rel="stylesheet" href="https://unpkg.com/swagger-ui-dist@5/swagger-ui.css" />
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="https://unpkg.com/swagger-ui-dist@5/swagger-ui-bundle.js"></script>
    <script>window.ui = SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui" });</script>
  </body>
</html>"""
_HTML = b"200 OK\r\ncontent-type: text/html; charset=utf-8\r\n"

_STRING: Schema = {"type": "string"}
_INTEGER: Schema = {"type": "integer"}
_BOOLEAN: Schema = {"type": "boolean"}
_FLOAT: Schema = {"type": "number", "format": "float"}
_OBJECT: Schema = {"type": "object"}
_ANYTHING: Schema = {"type": "object", "additionalProperties": True}
_AT_LEAST_ONE: Schema = {"type": "integer", "minimum": 1}
_SAMPLING = {"temperature": _FLOAT, "top_p": _FLOAT}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _reference(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _object(required: str, properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "required": required.split(), "properties": properties}


_MODEL_ROW = _object(
    "id object created owned_by",
    {"id": _STRING, "object": _STRING, "created": _INTEGER, "owned_by": _STRING},
)
_SCHEMAS = {
    "ChatMessage": _object(
        "role content", {"role": _STRING, "content": {"oneOf": [_STRING, _list(_OBJECT)]}}
    ),
    "ChatCompletionRequest": _object(
        "model messages",
        {
            "model": _STRING,
            "messages": _list(_reference("schemas", "ChatMessage")),
            "stream": _BOOLEAN,
            "max_tokens": _AT_LEAST_ONE,
            "stop": {"oneOf": [_STRING, _list(_STRING)]},
            "frequency_penalty": _FLOAT,
            "presence_penalty": _FLOAT,
            **_SAMPLING,
        },
    ),
    "CompletionRequest": _object(
        "model prompt",
        {
            "model": _STRING,
            "prompt": _STRING,
            "stream": _BOOLEAN,
            "max_tokens": _AT_LEAST_ONE,
            **_SAMPLING,
        },
    ),
    "GenerateRequest": _object(
        "model prompt",
        {
            "model": _STRING,
            "prompt": _STRING,
            "messages": _list(_OBJECT),
            "system": _STRING,
            "stream": _BOOLEAN,
            "raw_prompt": _BOOLEAN,
            "max_tokens": _AT_LEAST_ONE,
            "top_k": _INTEGER,
            **_SAMPLING,
        },
    ),
    "ModelsResponse": _object(
        "object data",
        {"object": {"type": "string", "example": "list"}, "data": _list(_MODEL_ROW)},
    ),
}
_GETS = {
    "/health": ("Health check", "Service health and loaded-model counts."),
    "/metrics": ("Runtime metrics", "Runtime and model metrics."),
    "/diag": ("Diagnostics", "Diagnostic information."),
    "/api/models": ("List native models", "Available models."),
    "/api/models/{name}/status": ("Get model status", "Model status."),
    "/api/tags": ("List Ollama-compatible models", "Ollama model list."),
    "/api/tools": ("List tools", "Available tools."),
    "/v1/models": ("List OpenAI-compatible models", "OpenAI model list."),
    "/ws/generate": ("Generate over WebSocket", "WebSocket protocol switch."),
}
_POSTS: dict[str, tuple[str, str, Schema | None]] = {
    "/api/models/discover": ("Rediscover models", "Discovery result.", None),
    "/api/models/{name}/load": ("Load a model", "Model load result.", None),
    "/api/models/{name}/unload": ("Unload a model", "Model unload result.", None),
    "/api/generate": (
        "Generate text",
        "Generated text or an SSE stream.",
        _reference("schemas", "GenerateRequest"),
    ),
    "/api/tools/{name}/execute": ("Execute a tool", "Tool result.", _ANYTHING),
    "/api/workflows/execute": ("Execute a workflow", "Workflow result.", _ANYTHING),
    "/v1/chat/completions": (
        "Create a chat completion",
        "A completion or an SSE stream.",
        _reference("schemas", "ChatCompletionRequest"),
    ),
    "/v1/completions": (
        "Create a text completion",
        "A text completion.",
        _reference("schemas", "CompletionRequest"),
    ),
    "/v1/messages": (
        "Create an Anthropic-compatible message",
        "A message response.",
        _ANYTHING,
    ),
}
_NAMES = {"/api/models/{name}/": "ModelName", "/api/tools/{name}/": "ToolName"}


def page(context: Context, head: Head) -> Steps:
    """``GET /docs``."""
    return (context.answer(head, _HTML, _PAGE),)


def openapi(context: Context, head: Head) -> Steps:
    """``GET /openapi.json``."""
    import json

    document = _document(context.server.release.version)
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return (context.json(head, body.encode()),)


def _document(version: str) -> Schema:
    paths = {path: {"get": _operation(path, *row)} for path, row in _GETS.items()}
    paths |= {path: {"post": _operation(path, *row)} for path, row in _POSTS.items()}
    chat = paths["/v1/chat/completions"]["post"]["responses"]
    chat |= {"400": _described("Invalid request."), "404": _described("Model not found.")}
    models = paths["/v1/models"]["get"]["responses"]["200"]
    models["content"] = _json(_reference("schemas", "ModelsResponse"))
    paths["/api/tools/{name}/execute"]["post"]["requestBody"]["required"] = False
    socket = paths["/ws/generate"]["get"]
    socket["responses"] = {"101": socket["responses"]["200"]}
    socket["description"] = (
        "Upgrade this request to a WebSocket connection and exchange GenerateRequest/token frames."
    )
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Shimmy API",
            "version": version,
            "description": "OpenAI-compatible local inference server with native, "
            "Ollama-compatible, and Anthropic-compatible endpoints.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "parameters": {
                name: {"name": "name", "in": "path", "required": True, "schema": _STRING}
                for name in _NAMES.values()
            },
        },
    }


def _operation(path: str, summary: str, result: str, body: Schema | None = None) -> Schema:
    operation: Schema = {"summary": summary, "responses": {"200": _described(result)}}
    for beginning, name in _NAMES.items():
        if path.startswith(beginning):
            operation["parameters"] = [_reference("parameters", name)]
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    return operation


def _described(text: str) -> Schema:
    return {"description": text}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}
