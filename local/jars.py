"""Java programs from Maven repositories: resolved by jgo, checked, kept in a cache inside the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import requests
from jgo.config import GlobalSettings
from jgo.maven import Artifact, MavenContext, PythonResolver
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from local.errors import DownloadError

Progress = Callable[[str], None]

_TIMEOUT_S = 60
_PARALLEL = 6
_ATTEMPTS = 4
_REPORT_EVERY_S = 2.0
_CHUNK_BYTES = 1 << 16
_CENTRAL = "https://repo.maven.apache.org/maven2"


class _NotReachedError(Exception):
    """A repository did not answer as it should; asking again may help."""


class _Cancelled(Exception):  # noqa: N818 - not an error: the caller gave up
    """The caller does not want the files any more."""


class _CheckedResolver(PythonResolver):
    """jgo's resolver, with downloads that are either whole and checked, or absent."""

    def __init__(self, cancelled: threading.Event) -> None:
        super().__init__()
        self._cancelled = cancelled
        # One connection per thread, kept: there are hundreds of small files.
        self._session = requests.Session()
        self._session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=_PARALLEL))

    def download(self, artifact: Artifact) -> Path:
        """Fetch one file into the cache.

        Raises:
            DownloadError: no repository has it, or what came is not what its checksum says.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(_NotReachedError),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential(multiplier=0.5, max=8),
            sleep=self._pause,
            reraise=True,
        )
        try:
            return retrying(self._download_once, artifact)
        except _NotReachedError as error:
            raise DownloadError(f"cannot download {artifact}: {error}") from error

    def _pause(self, seconds: float) -> None:
        self._cancelled.wait(seconds)

    def _download_once(self, artifact: Artifact) -> Path:
        target = artifact.cached_path
        assert target is not None  # every context here has a cache
        target.parent.mkdir(parents=True, exist_ok=True)
        for repository in artifact.context.remote_repos.values():
            if self._cancelled.is_set():
                raise _Cancelled
            url = f"{repository.rstrip('/')}/{artifact.component.path_prefix.as_posix()}/{artifact.filename}"
            try:
                if _fetch(self._session, url, target):
                    return target
            except requests.RequestException as error:
                raise _NotReachedError(str(error)) from error
        raise DownloadError(f"{artifact} is in none of the repositories {', '.join(artifact.context.remote_repos)}")


def class_path(
    cache: Path, name: str, coordinates: tuple[str, ...], progress: Progress, cancelled: threading.Event
) -> list[Path]:
    """Return the jars of a Java program, downloading what is not there yet.

    Args:
        cache: folder for the downloads; a Maven repository of its own for each program is made in it.
        name: of the program, for the folder and the progress lines.
        coordinates: Maven coordinates `group:artifact:version`.
        progress: takes lines for people while something is downloaded.
        cancelled: set by the caller when it no longer wants the answer.

    Raises:
        DownloadError: a file cannot be had.
    """
    folder = cache / name
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder):
        jars = _known(folder, coordinates)
        if jars is None:
            jars = _resolve(folder, name, coordinates, progress, cancelled)
            _remember(folder, coordinates, jars)
        return jars


def _resolve(
    folder: Path, name: str, coordinates: tuple[str, ...], progress: Progress, cancelled: threading.Event
) -> list[Path]:
    progress(f"{name}: looking up what it consists of")
    context = MavenContext(
        resolver=_CheckedResolver(cancelled), repo_cache=folder, remote_repos=_repositories(), timeout=_TIMEOUT_S
    )
    try:
        given, transitive = context.resolver.resolve([context.create_dependency(text) for text in coordinates])
        wanted = [*given, *(dependency for dependency in transitive if dependency.scope in {"compile", "runtime"})]
        return _download_all(name, [dependency.artifact for dependency in wanted], progress)
    except _Cancelled as error:
        raise DownloadError(f"{name}: the download was given up") from error
    except (OSError, RuntimeError, ValueError) as error:  # what jgo raises
        raise DownloadError(f"{name}: cannot be downloaded: {error}") from error


def _download_all(name: str, artifacts: list[Artifact], progress: Progress) -> list[Path]:
    reported_s = time.monotonic()
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix=f"download-{name}") as pool:
        futures = [pool.submit(artifact.resolve) for artifact in artifacts]
        for done, future in enumerate(as_completed(futures), start=1):
            if future.exception() is not None:
                pool.shutdown(wait=False, cancel_futures=True)
                break
            if time.monotonic() - reported_s >= _REPORT_EVERY_S:
                reported_s = time.monotonic()
                progress(f"{name}: downloaded {done} of {len(futures)} files")
    jars = [future.result() for future in futures if not future.cancelled()]
    size_mb = sum(jar.stat().st_size for jar in jars) / 1e6
    progress(f"{name}: all {len(jars)} files are here ({size_mb:.0f} MB)")
    return jars


def _repositories() -> dict[str, str]:
    """Return Maven Central and what the machine's jgo configuration adds, or puts in its place."""
    try:
        configured: dict[str, str] = GlobalSettings.load().repositories
    except RuntimeError:  # there is no home folder to look in
        configured = {}
    return {"central": _CENTRAL, **configured}


def _fetch(session: requests.Session, url: str, target: Path) -> bool:
    """Put what the URL names at the target, whole and checked; say whether it exists."""
    with session.get(url, stream=True, timeout=_TIMEOUT_S) as response:
        if response.status_code == requests.codes.not_found:
            return False
        response.raise_for_status()
        digest = hashlib.sha1(usedforsecurity=False)
        part = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            with part.open("wb") as file:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    file.write(chunk)
                    digest.update(chunk)
            _check(session, url, digest.hexdigest())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return True


def _check(session: requests.Session, url: str, sha1: str) -> None:
    """Compare with the checksum that every file of a Maven repository has beside it."""
    response = session.get(f"{url}.sha1", timeout=_TIMEOUT_S)
    response.raise_for_status()
    expected = response.text.split()[0].lower() if response.text.strip() else ""
    if sha1 != expected:
        raise _NotReachedError(f"{url} came with SHA-1 {sha1}, its checksum file says {expected or 'nothing'}")


def _known(folder: Path, coordinates: tuple[str, ...]) -> list[Path] | None:
    """Return the jars of an earlier run while all of them are there in their full size."""
    try:
        remembered = json.loads((folder / "class-path.json").read_text())
        if remembered["coordinates"] != list(coordinates):
            return None
        sizes: dict[str, int] = remembered["size_bytes"]
    except (OSError, ValueError, KeyError):
        return None
    jars = {folder / path: size for path, size in sizes.items()}
    damaged = [jar for jar, size in jars.items() if not jar.is_file() or jar.stat().st_size != size]
    for jar in damaged:
        jar.unlink(missing_ok=True)  # or jgo would take it as it is
    return None if damaged else list(jars)


def _remember(folder: Path, coordinates: tuple[str, ...], jars: list[Path]) -> None:
    sizes = {jar.relative_to(folder).as_posix(): jar.stat().st_size for jar in jars}
    part = folder / "class-path.json.part"
    part.write_text(json.dumps({"coordinates": coordinates, "size_bytes": sizes}, indent=1))
    part.replace(folder / "class-path.json")


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Keep other processes and threads out of the folder; the lock goes with its holder, however that ends."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
