"""The import against a server that answers as OpenSearch Dashboards does, its lies included."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dashboards.importer import Dashboards
from dashboards.saved_objects import saved_objects
from features.errors import ConfigError, DashboardsError, ServerUnavailable

OBJECTS = saved_objects()
STORED = (200, {"success": True, "successCount": len(OBJECTS), "successResults": []})

REFUSED = (
    200,
    {
        "success": False,
        "successCount": 3,
        "errors": [{"type": "search", "id": "x", "error": {"type": "missing_references"}}],
    },
)


class Fake:
    """Answers `/api/status` and `_import` as told.

    Attributes:
        answers: to the next requests; the last one stays.
        requests: what came: method, path, headers, body.
    """

    def __init__(self):
        self.answers = []
        self.requests = []

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def _serve(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.fake.requests.append((self.command, self.path, self.headers, body))
        status, said = self.fake.answers.pop(0) if len(self.fake.answers) > 1 else self.fake.answers[0]
        content = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _serve  # noqa: N815 - names that the base class calls

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def fake():
    with Fake() as running:
        yield running


def test_the_import_is_what_the_server_wants(fake):
    fake.answers = [STORED]
    Dashboards(fake.url, username="me", password="päss").store(OBJECTS)
    ((method, path, headers, body),) = fake.requests
    assert (method, path) == ("POST", "/api/saved_objects/_import?overwrite=true")
    assert headers["osd-xsrf"] == "true"
    assert headers["securitytenant"] == "global"
    assert headers["authorization"].startswith("Basic ")
    assert headers["content-encoding"] is None
    assert headers["content-type"].startswith("multipart/form-data; boundary=")
    assert re.search(rb'name="file"; filename="[^"]+\.ndjson"', body)
    lines = [line for line in body.splitlines() if line.startswith(b'{"type"')]
    assert [json.loads(line) for line in lines] == OBJECTS


def test_without_a_user_nobody_logs_in(fake):
    fake.answers = [STORED]
    Dashboards(fake.url).store(OBJECTS)
    assert fake.requests[0][2]["authorization"] is None
    assert fake.requests[0][2]["securitytenant"] is None


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (REFUSED, DashboardsError, f"3 of {len(OBJECTS)}.*search x: missing_references"),
        ((200, {"success": True, "successCount": len(OBJECTS) - 1}), DashboardsError, f"{len(OBJECTS) - 1} of"),
        ((200, {"success": False, "successCount": 0, "successResults": [{}] * len(OBJECTS)}), DashboardsError, "0 of"),
        ((200, b"<html>"), DashboardsError, "not OpenSearch Dashboards"),
        ((200, {}), DashboardsError, "0 of"),
        ((422, {"message": "a newer version"}), DashboardsError, "a newer version"),
        ((400, {"message": "unsupported_type"}), DashboardsError, "unsupported_type"),
        ((401, {}), ConfigError, "FRAUD_OPENSEARCH_USERNAME"),
        ((403, {}), ConfigError, "FRAUD_OPENSEARCH_USERNAME"),
        ((503, {}), ServerUnavailable, "503"),
        ((429, {}), ServerUnavailable, "429"),
    ],
)  # fmt: skip
def test_what_was_not_stored_is_an_error(fake, answer, error, said):
    fake.answers = [answer]
    with pytest.raises(error, match=said):
        Dashboards(fake.url).store(OBJECTS)


def test_a_server_that_starts_is_waited_for_and_one_that_does_not_is_given_up(fake):
    fake.answers = [(503, {}), (200, {})]
    Dashboards(fake.url).wait(20)
    assert [request[1] for request in fake.requests] == ["/api/status"] * 2
    fake.answers = [(503, {})]
    with pytest.raises(ServerUnavailable, match="503"):
        Dashboards(fake.url).wait(0)


def test_nothing_there_is_said():
    with Fake() as gone:
        url = gone.url
    server = Dashboards(url)
    assert server.is_there() is False
    with pytest.raises(ServerUnavailable, match="FRAUD_DASHBOARDS_URL"):
        server.store(OBJECTS)


@pytest.mark.parametrize("url", ["localhost:5601", "ftp://x", "http://"])
def test_a_wrong_url_is_a_wrong_setting(url):
    with pytest.raises(ConfigError, match="FRAUD_DASHBOARDS_URL"):
        Dashboards(url)


def test_setup_says_what_became_of_the_dashboards(fake):
    from fraudstream.commands_indices import store_dashboards
    from streams.settings import Settings

    def said(url):
        return store_dashboards(Settings(_env_file=None, dashboards_url=url), 0)

    assert "is empty" in said("")
    with Fake() as gone:
        url = gone.url
    assert "nothing answers" in said(url)
    fake.answers = [STORED]
    assert f"{len(OBJECTS)} objects imported" in said(fake.url)
    fake.answers = [(200, {}), (200, {}), (200, {"success": False})]
    with pytest.raises(DashboardsError):
        said(fake.url)
