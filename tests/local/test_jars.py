"""Downloads: whole and checked, or absent."""

from __future__ import annotations

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from local import jars
from local.errors import DownloadError

COORDINATES = ("org.example:program:1.0",)
POM = """<project><modelVersion>4.0.0</modelVersion>
<groupId>org.example</groupId><artifactId>{name}</artifactId><version>1.0</version>
<dependencies>{dependencies}</dependencies></project>"""
LIBRARY = (
    "<dependency><groupId>org.example</groupId><artifactId>library</artifactId><version>1.0</version></dependency>"
)


class Handler(SimpleHTTPRequestHandler):
    """Serves files."""

    def log_message(self, *_):
        """Count instead."""
        self.server.requests += 1


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A Maven repository on the loopback address: a program and the library it needs."""
    root = tmp_path / "repository"
    for name, dependencies in (("program", LIBRARY), ("library", "")):
        folder = root / "org" / "example" / name / "1.0"
        folder.mkdir(parents=True)
        publish(folder / f"{name}-1.0.pom", POM.format(name=name, dependencies=dependencies).encode())
        publish(folder / f"{name}-1.0.jar", name.encode() * 1000)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=root)) as server:
        server.root, server.requests = root, 0
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(jars, "_repositories", lambda: {"test": f"http://127.0.0.1:{server.server_port}"})
        monkeypatch.setattr(jars, "_ATTEMPTS", 2)
        yield server
        server.shutdown()
        thread.join()


def publish(file, content: bytes) -> None:
    file.write_bytes(content)
    file.with_name(f"{file.name}.sha1").write_text(hashlib.sha1(content).hexdigest())


def get(cache, cancelled=None):
    return jars.class_path(cache, "program", COORDINATES, lambda _: None, cancelled or threading.Event())


@pytest.mark.usefixtures("repository")
def test_a_program_comes_with_what_it_needs(tmp_path):
    found = get(tmp_path / "cache")
    assert sorted(jar.name for jar in found) == ["library-1.0.jar", "program-1.0.jar"]
    assert found[0].read_bytes() == b"program" * 1000


def test_the_second_time_nobody_is_asked(repository, tmp_path):
    first = get(tmp_path / "cache")
    asked = repository.requests
    assert get(tmp_path / "cache") == first
    assert repository.requests == asked


def test_a_file_that_is_not_what_its_checksum_says_is_refused(repository, tmp_path):
    (repository.root / "org/example/library/1.0/library-1.0.jar").write_bytes(b"something else")
    with pytest.raises(DownloadError, match="SHA-1"):
        get(tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("library-1.0.jar*"))


@pytest.mark.usefixtures("repository")
def test_a_damaged_file_is_fetched_again(tmp_path):
    jar = get(tmp_path / "cache")[0]
    whole = jar.read_bytes()
    jar.write_bytes(whole[:10])
    assert get(tmp_path / "cache")[0].read_bytes() == whole


def test_a_missing_file_is_named(repository, tmp_path):
    (repository.root / "org/example/library/1.0/library-1.0.jar").unlink()
    with pytest.raises(DownloadError, match="library"):
        get(tmp_path / "cache")


@pytest.mark.usefixtures("repository")
def test_a_repository_out_of_reach_is_an_error_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(jars, "_repositories", lambda: {"test": "http://127.0.0.1:1"})
    with pytest.raises(DownloadError, match="cannot download"):
        get(tmp_path / "cache")


@pytest.mark.usefixtures("repository")
def test_a_download_that_was_given_up_ends(tmp_path):
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(DownloadError, match="given up"):
        get(tmp_path / "cache", cancelled)
