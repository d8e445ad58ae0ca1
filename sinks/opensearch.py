"""The edge to OpenSearch: the client from explicit values, and its exceptions mapped to ours."""

from __future__ import annotations

import base64
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import urllib3
from opensearchpy import ConnectionError as NoConnection
from opensearchpy import OpenSearch, OpenSearchException, TransportError

from features.errors import ConfigError, FraudstreamError, IndexingError, ServerUnavailable

_URL = "FRAUD_OPENSEARCH_URL"
_CREDENTIALS = "FRAUD_OPENSEARCH_USERNAME and FRAUD_OPENSEARCH_PASSWORD"
_CA = "FRAUD_OPENSEARCH_SSL_CA"
_CONNECT_TIMEOUT_S = 5.0


def connect(
    url: str,
    *,
    username: str = "",
    password: str = "",
    ca_path: str = "",
    timeout_s: float = 60.0,
    connections: int = 1,
) -> OpenSearch:
    """Make the client; nothing is sent yet.

    Args:
        url: `http(s)://host:port`, with an optional path; a user and password in it serve where none are given.
        username: basic auth user; empty: none.
        password: basic auth password.
        ca_path: PEM file with the authority that signed the server's certificate; empty: those of the system.
        timeout_s: longest wait for an answer. Long, since a first document of a day creates that day's index.
        connections: how many are kept for the next requests.

    Raises:
        ConfigError: the URL or the certificate file cannot be used.
    """
    _silence_client_loggers()
    parts, port = _checked_url(url)
    secure = parts.scheme == "https"
    return OpenSearch(
        hosts=[{"host": parts.hostname, "port": port, "url_prefix": parts.path.strip("/")}],
        headers=authorization(username or unquote(parts.username or ""), password or unquote(parts.password or "")),
        timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=timeout_s),
        pool_maxsize=connections,
        max_retries=0,  # retries are ours: they back off, and they are logged
        use_ssl=secure,
        ssl_context=_tls_context(ca_path) if secure else None,
    )


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Let only our errors out of calls to the client.

    Raises:
        ServerUnavailable: no answer, or an answer that may change by itself (429, 5xx, a block on writes).
        ConfigError: credentials or certificate are refused.
        IndexingError: every other refusal.
    """
    try:
        yield
    except OpenSearchException as exc:
        raise _mapped(exc) from exc


def error_of(exc: TransportError) -> dict[str, Any]:
    """The error object of an OpenSearch answer; empty where something else answered (a proxy, say)."""
    info = exc.info if isinstance(exc.info, dict) else {}
    error = info.get("error")
    return error if isinstance(error, dict) else {}


def credentials_refused(status: int, error_type: str) -> ConfigError | None:
    """The error of an answer that means missing rights; a block on writes (also 403) is none."""
    if status == 401 or (status == 403 and error_type != "cluster_block_exception"):
        return ConfigError(f"{_CREDENTIALS}: OpenSearch refuses this user ({error_type or status})")
    return None


def _mapped(exc: OpenSearchException) -> FraudstreamError:
    if isinstance(exc, NoConnection):
        return _unreachable(exc)
    if not isinstance(exc, TransportError):
        return IndexingError(f"{_URL}: what answers there is not OpenSearch ({type(exc).__name__})")
    status, error = int(exc.status_code), error_of(exc)
    kind = str(error.get("type", ""))
    if refused := credentials_refused(status, kind):
        return refused
    said = f"{status} {kind}: {_root_reason(error)}"
    if status == 429 or status >= 500 or kind == "cluster_block_exception":
        return ServerUnavailable(f"{_URL}: OpenSearch takes no request for now ({said})")
    return IndexingError(f"{_URL}: OpenSearch refuses the request ({said})")


def _root_reason(error: dict[str, Any]) -> str:
    """The innermost reason: the outer ones only say that something is invalid."""
    while isinstance(cause := error.get("caused_by"), dict):
        error = cause
    return str(error.get("reason", "no reason given"))


def _unreachable(exc: NoConnection) -> FraudstreamError:
    cause = exc.info.args[0] if isinstance(exc.info, Exception) and exc.info.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ConfigError(f"{_CA}: the certificate of OpenSearch is not trusted ({cause.verify_message})")
    return ServerUnavailable(f"{_URL}: OpenSearch does not answer ({exc.error})")


def _checked_url(url: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 9200)
    except ValueError:
        raise ConfigError(f"{_URL} is not a URL; it looks like http://localhost:9200") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"{_URL} must be http(s)://host:port")
    return parts, port


def _tls_context(ca_path: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_path or None)
    except OSError as exc:  # the parent of SSLError too: no such file, or no certificate in it
        raise ConfigError(f"{_CA}: cannot be used as a CA certificate ({exc.strerror})") from None


def authorization(username: str, password: str) -> dict[str, str]:
    """Basic auth in UTF-8; the library's own would end at a character outside Latin-1."""
    if not username:
        return {}
    return {"authorization": f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"}


def _silence_client_loggers() -> None:
    """The client's loggers print request bodies, so they stay silent; what went wrong is in our errors."""
    for name in ("opensearch", "opensearchpy.trace"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
