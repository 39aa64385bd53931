"""``init``: files to start a deployment from.

Strategy: which files there are, what they are called and where ``--name`` goes in them is as in the
real one (seen on 2.5.0, both builds), byte for byte on stdout and stderr. What is *in* the files is
our own: the shortest text that does the same job. The name is put in by replacing words, as the
real one does it, so the words of that replacement stand in our texts too.
"""

from __future__ import annotations

import os
import sys

from fake_shimmy import rust
from fake_shimmy.rust import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.commands.clap import Invocation

_DOCKERFILE = """\
FROM rust:1-slim AS build
RUN cargo install --locked --no-default-features --features huggingface --bin shimmy shimmy

FROM debian:stable-slim
COPY --from=build /usr/local/cargo/bin/shimmy /usr/local/bin/shimmy
WORKDIR /app
VOLUME /app/models
EXPOSE 11435
CMD ["shimmy", "serve", "--bind", "0.0.0.0:11435"]
"""
_COMPOSE = """\
services:
  shimmy:
    build: .
    container_name: shimmy-ai
    ports:
      - "11435:11435"
    volumes:
      - ./models:/app/models:ro
    restart: unless-stopped
  nginx:
    image: nginx:stable-alpine
    ports:
      - "80:80"
    volumes:
      - ./nginx.conf:/etc/nginx/nginx.conf:ro
    depends_on:
      - shimmy
"""
_NGINX = """\
events {}

http {
    server {
        listen 80;
        location / {
            proxy_pass http://shimmy:11435;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
}
"""
_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shimmy-deployment
  labels:
    app: shimmy
spec:
  selector:
    matchLabels:
      app: shimmy
  template:
    metadata:
      labels:
        app: shimmy
    spec:
      containers:
        - name: server
          image: shimmy:latest
          args: ["serve", "--bind", "0.0.0.0:11435"]
          ports:
            - containerPort: 11435
          readinessProbe:
            httpGet:
              path: /health
              port: 11435
"""
_SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: shimmy-service
  labels:
    app: shimmy
spec:
  selector:
    app: shimmy
  ports:
    - port: 11435
---
apiVersion: v1
kind: Service
metadata:
  name: shimmy-loadbalancer
  labels:
    app: shimmy
spec:
  type: LoadBalancer
  selector:
    app: shimmy
  ports:
    - port: 80
      targetPort: 11435
"""
_CONFIGMAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: shimmy-config
  labels:
    app: shimmy
data:
  RUST_LOG: info
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: shimmy-models-pvc
  labels:
    app: shimmy
spec:
  accessModes: [ReadWriteOnce]
  resources:
    requests:
      storage: 20Gi
"""
_RAILWAY = """\
[build]
builder = "dockerfile"

[deploy]
startCommand = "shimmy serve --bind 0.0.0.0:$PORT"
healthcheckPath = "/health"
"""
_FLY = """\
app = "shimmy-ai"

[http_service]
internal_port = 11435
force_https = true

[[http_service.checks]]
path = "/health"
"""
_FASTAPI = """\
import httpx
from fastapi import FastAPI

app = FastAPI()
shimmy = httpx.AsyncClient(base_url="http://127.0.0.1:11435", timeout=None)


@app.post("/chat")
async def chat(request: dict) -> dict:
    answer = await shimmy.post("/v1/chat/completions", json={**request, "stream": False})
    answer.raise_for_status()
    return answer.json()
"""
_REQUIREMENTS = "fastapi\nhttpx\nuvicorn\n"
_EXPRESS = """\
const express = require("express");

const app = express();
app.use(express.json());

app.post("/chat", async (request, response) => {
  const answer = await fetch("http://127.0.0.1:11435/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...request.body, stream: false }),
  });
  response.status(answer.status).type("application/json").send(await answer.text());
});

app.listen(3000);
"""
_PACKAGE = """\
{
  "name": "shimmy-express-integration",
  "private": true,
  "main": "app.js",
  "scripts": { "start": "node app.js" },
  "dependencies": { "express": "^4.18.0" }
}
"""

_DOCKER = {
    "Dockerfile": _DOCKERFILE,
    "docker-compose.yml": _COMPOSE,
    "nginx.conf": _NGINX,
    ".dockerignore": ".git/\ntarget/\n*.md\n",
}
_KUBERNETES = {
    "deployment.yaml": _DEPLOYMENT,
    "service.yaml": _SERVICE,
    "configmap.yaml": _CONFIGMAP,
}
# The label goes last: the other words contain it.
_KUBERNETES_NAMES = {
    "shimmy-deployment": "{}-deployment",
    "shimmy-service": "{}-service",
    "shimmy-loadbalancer": "{}-loadbalancer",
    "shimmy-config": "{}-config",
    "shimmy-models-pvc": "{}-models-pvc",
    "app: shimmy": "app: {}",
}


class _Kind:
    """A template: its title, its files in the order of writing, the words that carry the name."""

    __slots__ = ("files", "title", "words")

    def __init__(self, title: str, files: dict[str, str], words: dict[str, str]) -> None:
        self.title = title
        self.files = files
        self.words = words


_KINDS = {
    "docker": _Kind("Docker", _DOCKER, {"shimmy-ai": "{}-shimmy"}),
    "kubernetes": _Kind("Kubernetes", _KUBERNETES, _KUBERNETES_NAMES),
    "k8s": _Kind("Kubernetes", _KUBERNETES, _KUBERNETES_NAMES),
    "railway": _Kind("Railway", {"railway.toml": _RAILWAY, "Dockerfile": _DOCKERFILE}, {}),
    "fly": _Kind("Fly.io", {"fly.toml": _FLY, "Dockerfile": _DOCKERFILE}, {"shimmy-ai": "{}-ai"}),
    "fastapi": _Kind("FastAPI", {"main.py": _FASTAPI, "requirements.txt": _REQUIREMENTS}, {}),
    "express": _Kind(
        "Express.js",
        {"app.js": _EXPRESS, "package.json": _PACKAGE},
        {"shimmy-express-integration": "{}-shimmy-integration"},
    ),
}


class ScaffoldError(Exception):
    """Files that could not be made; the text is the real one's reason."""


def init(invocation: Invocation) -> None:
    """Do what the command says."""
    text = invocation.text
    try:
        report = _write(text("template") or "", text("output") or "", text("name"))
    except ScaffoldError as error:
        console.err(f"❌ Template generation failed: {error}")
        sys.exit(1)
    console.out(report)


def _write(template: str, folder: str, name: str | None) -> str:
    """Write the files of ``template`` into ``folder``; returns the line that reports it."""
    kind = _KINDS.get(template.lower())
    if kind is None:
        available = "docker, kubernetes, railway, fly, fastapi, express"
        raise ScaffoldError(f"Unknown template type: {template}. Available: {available}")
    try:
        if folder:
            os.makedirs(rust.os_path(folder), exist_ok=True)  # noqa: PTH103 - bytes, and no pathlib
        for file_name, text in kind.files.items():
            with open(rust.os_path(rust.join(folder, file_name)), "wb") as file:
                file.write(_named(text, kind.words, name).encode())
    except OSError as error:
        raise ScaffoldError(rust.os_error(error)) from None
    return f"✅ {kind.title} template generated in {folder}"


def _named(text: str, words: dict[str, str], name: str | None) -> str:
    if name is not None:
        for word, replacement in words.items():
            text = text.replace(word, replacement.format(name))
    return text
