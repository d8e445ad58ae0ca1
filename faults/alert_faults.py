"""Faults of the `alert` role and of whoever it tells: every outcome must be told, and an id says the same whenever."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal

import msgspec

from faults.fault import Fault, wait_for
from faults.readback import read_topic
from faults.site import Site
from local.ports import HOST
from sinks.documents import document_id
from sinks.topics import PROCESSED

_KEY: Final = "0123456789abcdef0123456789abcdef"
_TOLD_S: Final = 60.0
_HANG_S: Final = 10.0
_ROUTES: Final = """\
channels:
{channels}
routes:
  - {{name: all, outcomes: [approve, review, block], channels: [{names}]}}
"""


class Receiver:
    """Takes digests, or hangs.

    Attributes:
        told: what each alert said, by card and transaction.
        differing: alerts that said something else in a repeat.
    """

    def __init__(self) -> None:
        self.told: dict[str, tuple[str, int | None]] = {}
        self.differing = 0
        self.open = threading.Event()
        self.open.set()
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if not receiver.open.is_set():
                    receiver.open.wait(60)
                    return  # whoever asked has hung up long ago: nothing was taken
                receiver.take(body.get("alerts") or [body["alert"]])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:  # noqa: ANN401 - as the library has it
                """Nothing."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="alert-receiver", daemon=True).start()
        self.url = f"http://{HOST}:{self._server.server_port}/"

    def take(self, alerts: list[dict[str, Any]]) -> None:
        """Note what was told."""
        with self._lock:
            for alert in alerts:
                said = (alert["outcome"], alert["score"])
                name = document_id(alert["card_id"], alert["transaction_id"])
                self.differing += self.told.setdefault(name, said) != said

    def close(self) -> None:
        """Take no more."""
        self.open.set()
        self._server.shutdown()
        self._server.server_close()


class _Told(Fault):
    """An alert role that starts in the midst of the load and has everything to tell to each of its receivers.

    Args:
        names: of the channels.
    """

    def __init__(self, *names: Literal["cases", "desk"]) -> None:
        self._names = names
        self._receivers: dict[str, Receiver] = {}

    def prepare(self, site: Site) -> None:
        """Who listens, and the routes that lead there."""
        self._receivers = {name: Receiver() for name in self._names}
        channels = "\n".join(
            f'  {name}: {{webhook: "{one.url}", secret: "{_KEY}", timeout: 2s, digest: 1s}}'
            for name, one in self._receivers.items()
        )
        routes = site.folder / "routes.yaml"
        routes.write_text(_ROUTES.format(channels=channels, names=", ".join(self._names)))
        site.variables.update(FRAUD_ALERTS=str(routes), FRAUD_ALERTS_DIR=str(site.folder / "alerts"))

    def begin(self, site: Site) -> None:
        """Start the role, and wait until it tells."""
        site.fleet.start("alert")
        site.also.append("alert")
        wait_for("an alert", lambda: all(one.told for one in self._receivers.values()))

    def settle(self, site: Site) -> list[str]:
        """Every outcome is told to everybody, as it was published last or, of a repeat, first."""
        # One that was killed last may not even have been started again, and could not be told to end.
        wait_for("a ready alert worker", lambda: any(worker.ready for worker in site.fleet.running("alert")))
        published = _published(site)
        deadline_s = time.monotonic() + _TOLD_S
        while any(len(one.told) < len(published) for one in self._receivers.values()):
            if time.monotonic() > deadline_s:
                break
            time.sleep(0.1)
        return [complaint for name, one in self._receivers.items() for complaint in _judged(name, one, published)]

    def close(self, site: Site) -> None:
        """Nobody listens any more."""
        del site
        for one in self._receivers.values():
            one.close()


def _published(site: Site) -> dict[str, set[tuple[str, int | None]]]:
    """What outcomes say, by card and transaction."""
    published: dict[str, set[tuple[str, int | None]]] = {}
    for record in read_topic(site.kafka, site.topic(PROCESSED)):
        body = msgspec.json.decode(record.value or b"")
        name = document_id(body["card_id"], body["transaction_id"])
        published.setdefault(name, set()).add((body["fraud"]["outcome"], body["fraud"].get("score")))
    return published


def _judged(name: str, receiver: Receiver, published: dict[str, set[tuple[str, int | None]]]) -> list[str]:
    lost = len(published.keys() - receiver.told.keys())
    wrong = sum(said not in published.get(one, ()) for one, said in receiver.told.items())
    found = {"outcomes were not told": lost, "alerts say otherwise": wrong, "repeats differ": receiver.differing}
    return [f"{name}: {count:,} {what}" for what, count in found.items() if count]


class AlertsKilled(_Told):
    """The alert role is killed at random moments.

    Args:
        times: how often.
        seed: of the moments.
    """

    def __init__(self, times: int, seed: int) -> None:
        super().__init__("cases")
        self._times = times
        self._rng = random.Random(seed)  # noqa: S311 - moments, not secrets

    def inject(self, site: Site) -> None:
        """Kill, wait a random while, and again."""
        self.begin(site)
        for _ in range(self._times):
            time.sleep(self._rng.uniform(1.0, 4.0))
            wait_for("the alert worker", lambda: bool(site.fleet.running("alert")))
            site.fleet.running("alert")[-1].signal(signal.SIGKILL)

    def complaints(self, site: Site) -> list[str]:
        """Nobody ended otherwise."""
        wanted = [("alert", -signal.SIGKILL)] * self._times
        return [] if site.fleet.ends == wanted else [f"workers ended with {site.fleet.ends}"]


class ChannelHangs(_Told):
    """One channel takes no message for ten seconds; the other must not notice."""

    hold_s = _HANG_S

    def __init__(self) -> None:
        super().__init__("cases", "desk")

    def inject(self, site: Site) -> None:
        """Hang."""
        self.begin(site)
        self._receivers["desk"].open.clear()

    def heal(self, site: Site) -> None:
        """Take messages again, once the other has heard of everything that was published meanwhile."""
        published = _published(site)
        wait_for("the other channel", lambda: published.keys() <= self._receivers["cases"].told.keys())
        self._receivers["desk"].open.set()
