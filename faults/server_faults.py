"""Faults of Kafka and OpenSearch."""

from __future__ import annotations

import time
from typing import Any, Final

from faults.fault import Fault, wait_for
from faults.proxies import BulkProxy
from faults.site import Site

_MODE_S: Final = 3.0


class BrokerRestarted(Fault):
    """The Kafka broker is killed and starts again on its data."""

    crashes = 1  # offsets that were on their way are gone

    def inject(self, site: Site) -> None:
        """Kill."""
        site.stack.kill("kafka")

    def heal(self, site: Site) -> None:
        """Start; it is the end of the fault when it answers."""
        site.stack.restart("kafka")

    def close(self, site: Site) -> None:
        """It must run for the next row."""
        if not site.stack.alive("kafka"):
            site.stack.restart("kafka")


class SearchAway(Fault):
    """OpenSearch is killed, and starts again on its data after a while.

    Args:
        seconds: how long it is away before it is started.
    """

    def __init__(self, seconds: float) -> None:
        self.hold_s = seconds

    def inject(self, site: Site) -> None:
        """Kill."""
        site.stack.kill("opensearch")

    def heal(self, site: Site) -> None:
        """Start; it is the end of the fault when it answers."""
        site.stack.restart("opensearch")

    def close(self, site: Site) -> None:
        """It must run for the next row."""
        if not site.stack.alive("opensearch"):
            site.stack.restart("opensearch")


class Throttled(Fault):
    """OpenSearch refuses bulk requests with 429, and then some documents of each with 429 and 503."""

    def __init__(self) -> None:
        self._proxy: BulkProxy | None = None

    def prepare(self, site: Site) -> None:
        """Put a proxy between."""
        self._proxy = BulkProxy(site.variables["FRAUD_OPENSEARCH_URL"])
        site.variables["FRAUD_OPENSEARCH_URL"] = self._proxy.url

    def inject(self, site: Site) -> None:
        """One kind of refusal after the other, twice."""
        del site
        assert self._proxy is not None
        for mode in ("429", "items", "429", "items"):
            self._proxy.mode = mode
            time.sleep(_MODE_S)

    def heal(self, site: Site) -> None:
        """Let everything pass."""
        del site
        assert self._proxy is not None
        self._proxy.mode = ""

    def close(self, site: Site) -> None:
        """End the proxy."""
        del site
        if self._proxy is not None:
            self._proxy.stop()

    def complaints(self, site: Site) -> list[str]:
        """It did refuse."""
        refused = self._proxy is not None and self._proxy.refused
        return super().complaints(site) + ([] if refused else ["no bulk request was refused"])


class ReadOnlyIndex(Fault):
    """Somebody sets the row's indices read-only (`index.blocks.write`), and takes that back."""

    hold_s = 8.0

    def inject(self, site: Site) -> None:
        """Block writes."""
        _block(site, "write", blocked=True)

    def heal(self, site: Site) -> None:
        """Let them pass."""
        _block(site, "write", blocked=None)


class SearchDiskFull(Fault):
    """The disk of OpenSearch is fuller than its flood stage: it blocks writes, and lets them pass when there is room.

    The disk is as it is; the watermark is moved.
    """

    def inject(self, site: Site) -> None:
        """A flood stage that any disk is beyond; wait for the block."""
        _settings(site, threshold=True, free="900pb")
        wait_for("the flood-stage block", lambda: _is_blocked(site), 45)
        time.sleep(4.0)

    def heal(self, site: Site) -> None:
        """A flood stage that no disk is beyond; OpenSearch takes its block back by itself."""
        _settings(site, threshold=True, free="1b")
        wait_for("the end of the flood-stage block", lambda: not _is_blocked(site), 45)

    def close(self, site: Site) -> None:
        """Give the settings back."""
        _settings(site, threshold=None, free=None)


def _block(site: Site, name: str, *, blocked: bool | None) -> None:
    site.opensearch.indices.put_settings(index=site.indices, body={f"index.blocks.{name}": blocked})


def _is_blocked(site: Site) -> bool:
    answers: dict[str, Any] = site.opensearch.indices.get_settings(
        index=site.indices, name="index.blocks.read_only_allow_delete", params={"flat_settings": "true"}
    )
    return any("true" in one["settings"].values() for one in answers.values())


def _settings(site: Site, *, threshold: bool | None, free: str | None) -> None:
    disk = "cluster.routing.allocation.disk"
    marks = {f"{disk}.watermark.{name}": free for name in ("low", "high", "flood_stage")}
    every = "10s" if free else None
    body = {"transient": {f"{disk}.threshold_enabled": threshold, "cluster.info.update.interval": every, **marks}}
    site.opensearch.cluster.put_settings(body=body)
