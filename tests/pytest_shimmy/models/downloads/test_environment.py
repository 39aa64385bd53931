"""Proxies, certificates and credentials come from the environment."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs.fileserver import NAME, FileServer
from tests.support.downloads import (
    CONTENT,
    Fetch,
    refusal,
)


def test_proxies_of_the_environment_are_used(
    fetch: Fetch, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", files.base)
    assert fetch(f"http://models.invalid/{NAME}").read_bytes() == CONTENT
    assert files.requests[0].path == f"http://models.invalid/{NAME}"


def test_hosts_that_need_no_proxy_are_asked_directly(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert "refused" in refusal(fetch, retries=0).message
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert fetch().read_bytes() == CONTENT


def test_credentials_come_from_netrc(
    fetch: Fetch, files: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    fetch()
    credentials = b64encode(b"me:secret").decode()
    assert files.requests[0].headers["authorization"] == f"Basic {credentials}"


@pytest.fixture
def secure_files(certificate: Path) -> Iterator[FileServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with FileServer(CONTENT, context) as files:
        yield files


def test_a_certificate_that_nobody_trusts_is_refused_at_once(
    fetch: Fetch, secure_files: FileServer
) -> None:
    message = refusal(fetch, url=secure_files.url).message
    assert "no secure connection" in message
    assert "REQUESTS_CA_BUNDLE" in message
    assert secure_files.requests == []


def test_certificates_of_the_environment_are_trusted(
    fetch: Fetch,
    secure_files: FileServer,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert fetch(secure_files.url).read_bytes() == CONTENT
