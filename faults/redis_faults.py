"""Faults of Redis."""

from __future__ import annotations

import time

from faults.fault import Fault
from faults.proxies import SlowProxy
from faults.site import Site


class Flushed(Fault):
    """Redis forgets everything while it serves."""

    def inject(self, site: Site) -> None:
        """FLUSHALL."""
        site.redis.flushall()


class RestartedEmpty(Fault):
    """Redis is killed and comes back with nothing."""

    def inject(self, site: Site) -> None:
        """Kill and start; it writes nothing to disk."""
        site.stack.kill("redis")
        site.stack.restart("redis")


class Away(Fault):
    """Redis is killed, and comes back empty after a while.

    Args:
        seconds: how long it is away.
        degrades: whether workers go on without it.
    """

    def __init__(self, seconds: float, *, degrades: bool = False) -> None:
        self.hold_s, self.flag = seconds, "store_away" if degrades else ""

    def inject(self, site: Site) -> None:
        """Kill."""
        site.stack.kill("redis")

    def heal(self, site: Site) -> None:
        """Start it again."""
        site.stack.restart("redis")

    def close(self, site: Site) -> None:
        """It must run for the next row."""
        if not site.stack.alive("redis"):
            site.stack.restart("redis")


class Frozen(Fault):
    """Redis keeps its connections and answers nothing (SIGSTOP).

    Args:
        seconds: how long.
    """

    def __init__(self, seconds: float) -> None:
        self.hold_s = seconds

    def inject(self, site: Site) -> None:
        """Stop its clock."""
        site.stack.suspend("redis")

    def heal(self, site: Site) -> None:
        """Let it go on."""
        site.stack.resume("redis")

    def close(self, site: Site) -> None:
        """It must run for the next row."""
        site.stack.resume("redis")


class Slow(Fault):
    """Every answer of Redis takes long, longer than the budget of a batch that its row gives.

    Args:
        delay_s: of each portion of bytes, both ways.
        seconds: how long.
    """

    flag = "deadline"

    def __init__(self, delay_s: float, seconds: float) -> None:
        self._delay_s, self.hold_s = delay_s, seconds
        self._proxy: SlowProxy | None = None

    def prepare(self, site: Site) -> None:
        """Put a proxy between."""
        host, port = site.variables["FRAUD_REDIS_URL"].removeprefix("redis://").split("/")[0].split(":")
        self._proxy = SlowProxy(host, int(port))
        self._proxy.start()
        site.variables["FRAUD_REDIS_URL"] = f"redis://{host}:{self._proxy.port}/0"

    def inject(self, site: Site) -> None:
        """Slow down."""
        del site
        assert self._proxy is not None
        self._proxy.delay_s = self._delay_s

    def heal(self, site: Site) -> None:
        """At full speed again."""
        del site
        assert self._proxy is not None
        self._proxy.delay_s = 0.0

    def close(self, site: Site) -> None:
        """End the proxy."""
        del site
        if self._proxy is not None:
            self._proxy.stop()


class OutOfMemory(Fault):
    """Redis refuses writes for want of memory (`OOM`)."""

    hold_s = 6.0

    def inject(self, site: Site) -> None:
        """Less than it uses already."""
        site.redis.config_set("maxmemory", "1mb")

    def heal(self, site: Site) -> None:
        """No limit."""
        site.redis.config_set("maxmemory", "0")

    close = heal


class ReadOnly(Fault):
    """Redis becomes a replica of a host that is not there, and refuses writes; then it is promoted again."""

    hold_s = 6.0

    def inject(self, site: Site) -> None:
        """A replica of nothing keeps its data and stays readable."""
        site.redis.replicaof("127.0.0.1", "1")

    def heal(self, site: Site) -> None:
        """A master again."""
        site.redis.replicaof("NO", "ONE")
        time.sleep(0.1)

    close = heal
