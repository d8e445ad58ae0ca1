"""The import into OpenSearch Dashboards, which answers 200 to a file that it did not store."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, SSLError

from dashboards.saved_objects import Json, ndjson
from features.errors import ConfigError, DashboardsError, ServerUnavailable
from sinks.opensearch import authorization

_URL: Final = "FRAUD_DASHBOARDS_URL"
_CREDENTIALS: Final = "FRAUD_OPENSEARCH_USERNAME and FRAUD_OPENSEARCH_PASSWORD"
_TIMEOUT: Final = urllib3.Timeout(connect=3.0, read=60.0)
_RETRY_S: Final = 1.0
_SHOWN: Final = 3
_XSRF: Final = {"osd-xsrf": "true"}


class _Answer(msgspec.Struct):
    """What `_import` says."""

    success: bool = False
    successCount: int = 0  # noqa: N815 - the server's own name
    errors: list[dict[str, Any]] = []


class Dashboards:
    """A server of OpenSearch Dashboards.

    Args:
        url: `http(s)://host:port`, with the base path if it has one.
        username: basic auth user; empty: none.
        password: basic auth password.
        ca_path: PEM file with the authority of its certificate; empty: those of the system.

    Raises:
        ConfigError: the URL or the certificate file cannot be used.
    """

    def __init__(self, url: str, *, username: str = "", password: str = "", ca_path: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"{_URL} must be http(s)://host:port, or empty")
        self._url = url.rstrip("/")
        tenant = {"securitytenant": "global"} if username else {}
        self._headers = {**_XSRF, **authorization(username, password), **tenant}
        self._pool = urllib3.PoolManager(
            timeout=_TIMEOUT, retries=False, ssl_context=_tls_context(ca_path) if parts.scheme == "https" else None
        )

    def is_there(self) -> bool:
        """Whether anything answers."""
        try:
            self._ask("GET", "/api/status")
        except ServerUnavailable:
            return False
        return True

    def wait(self, patience_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Wait until the server is ready to take objects.

        Raises:
            ServerUnavailable: it is not within that time.
            ConfigError: it refuses the user or its certificate is not trusted.
        """
        deadline_s = clock_s() + patience_s
        while True:
            status, problem = 0, ""
            try:
                status = self._ask("GET", "/api/status").status
            except ServerUnavailable as exc:
                problem = str(exc)
            if status == 200:
                return
            if clock_s() >= deadline_s:
                raise ServerUnavailable(problem or f"{_URL}: OpenSearch Dashboards is not ready (status {status})")
            time.sleep(_RETRY_S)

    def store(self, objects: Sequence[Json]) -> None:
        """Store objects, in the place of those of the same ids.

        Raises:
            DashboardsError: not every object was stored.
            ServerUnavailable: the server does not answer, or not for now.
            ConfigError: it refuses the user.
        """
        answer = self._ask(
            "POST", "/api/saved_objects/_import?overwrite=true",
            fields={"file": ("fraud.ndjson", ndjson(objects), "application/ndjson")},
        )  # fmt: skip
        if answer.status != 200:
            said = answer.data[:300].decode(errors="replace")
            raise DashboardsError(f"{_URL}: OpenSearch Dashboards refuses the import (status {answer.status}: {said})")
        try:
            found = msgspec.json.decode(answer.data, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise DashboardsError(f"{_URL}: what answers there is not OpenSearch Dashboards") from None
        # 200 says that the file was read; what was stored stands in the answer alone.
        if not found.success or found.successCount != len(objects):
            raise DashboardsError(
                f"{_URL}: {found.successCount} of {len(objects)} objects were stored{_problems(found.errors)}"
            )

    def _ask(self, method: str, path: str, **more: Any) -> urllib3.BaseHTTPResponse:  # noqa: ANN401 - urllib3's own
        try:
            answer = self._pool.request(method, f"{self._url}{path}", headers=self._headers, **more)
        except SSLError as exc:
            raise ConfigError(
                f"FRAUD_OPENSEARCH_SSL_CA: the certificate of Dashboards is not trusted ({exc})"
            ) from None
        except HTTPError as exc:
            kind = type(exc).__name__
            raise ServerUnavailable(f"{_URL}: OpenSearch Dashboards does not answer ({kind})") from exc
        if answer.status in {401, 403}:
            raise ConfigError(f"{_CREDENTIALS}: OpenSearch Dashboards refuses this user (status {answer.status})")
        if answer.status == 429 or answer.status >= 500:
            raise ServerUnavailable(f"{_URL}: OpenSearch Dashboards takes no request for now (status {answer.status})")
        return answer


def _problems(errors: Sequence[dict[str, Any]]) -> str:
    """The first problems, each with its object."""
    said = []
    for error in errors[:_SHOWN]:
        kind = error.get("error")
        said.append(f"{error.get('type')} {error.get('id')}: {kind.get('type') if isinstance(kind, dict) else kind}")
    more = f" and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    return f" ({'; '.join(said)}{more})" if said else ""


def _tls_context(ca_path: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_path or None)
    except OSError as exc:
        raise ConfigError(f"FRAUD_OPENSEARCH_SSL_CA: cannot be used as a CA certificate ({exc.strerror})") from None
