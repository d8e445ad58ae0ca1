"""Scan everything that the pipeline writes, one server after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import msgspec

from features.redis_link import connect as redis_client
from sinks.topics import AUDIT, DEAD_LETTERS, LABELS, PROCESSED, TRANSACTIONS
from streams.index import opensearch_client
from streams.pan_scan.files import scan_files
from streams.pan_scan.finder import Finder
from streams.pan_scan.kafka_source import TopicScanner
from streams.pan_scan.opensearch_source import scan_opensearch
from streams.pan_scan.redis_source import scan_redis
from streams.pan_scan.report import Report
from streams.pan_scan.spool_source import scan_spool
from streams.settings import Settings

Show = Callable[[int, int | None], None]
Progress = Callable[[str], AbstractContextManager[Show]]

_OURS: Final = (PROCESSED, DEAD_LETTERS, LABELS, AUDIT)


class Scope(msgspec.Struct, frozen=True):
    """What is looked at besides Redis, our topics, our indices and the model.

    Attributes:
        topics: full names of further topics.
        files: log files and folders.
        include_input: count the records of `transactions` that hold card numbers.
    """

    topics: Sequence[str] = ()
    files: Sequence[Path] = ()
    include_input: bool = False


async def scan(settings: Settings, scope: Scope, finder: Finder, progress: Progress) -> Report:
    """Look at everything; a server that is away ends the scan, since what was not seen is not clean.

    Raises:
        ServerUnavailable: a server does not answer.
        ConfigError: a server refuses the user or the certificate.
    """
    report = Report()
    with progress("pan-scan: files") as show:
        scan_files([*scope.files, Path(settings.model)], finder, report, show)
    with progress("pan-scan: alerts") as show:
        scan_spool(Path(settings.alerts_dir), finder, report, show)
    await _redis(settings, finder, report, progress)
    _kafka(settings, scope, finder, report, progress)
    client = opensearch_client(settings)
    try:
        with progress("pan-scan: opensearch") as show:
            scan_opensearch(client, settings.index_prefix, finder, report, show)
    finally:
        client.close()
    return report


async def _redis(settings: Settings, finder: Finder, report: Report, progress: Progress) -> None:
    client = redis_client(settings.redis_url.get_secret_value(), ca_path=settings.redis_ssl_ca)
    try:
        with progress("pan-scan: redis") as show:
            await scan_redis(client, settings.key_prefix, finder, report, show)
    finally:
        await client.aclose()


def _kafka(settings: Settings, scope: Scope, finder: Finder, report: Report, progress: Progress) -> None:
    scanner = TopicScanner(settings.kafka(), settings.group("pan-scan"))
    try:
        for topic in dict.fromkeys([*(settings.topic(name) for name in _OURS), *scope.topics]):
            with progress(f"pan-scan: {topic}") as show:
                scanner.scan(topic, finder, report, show)
        if scope.include_input:
            topic = settings.topic(TRANSACTIONS)
            with progress(f"pan-scan: {topic}") as show:
                report.input_records = scanner.count(topic, finder, report, show)
    finally:
        scanner.close()
