"""Measure the peers: `python -m bench.peers [--quick] [--only NAME ...]`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from rich.console import Console

from bench.lab import ROOT, BenchError, Lab
from bench.machine import this_machine
from bench.peers.peers import PEERS, Peer, Peers, interpreters
from bench.peers.report import RELAY, SCORE, Found, Results, labels, show
from bench.peers.speed import Speed, measure_peer, speed_of
from bench.peers.truth import Killed, Start, in_peace, prepare, with_a_kill
from bench.peers.verdict import Verdict
from bench.throughput import measure_throughput, warm_up_throughput
from features.times import format_rfc3339
from local.errors import LocalStackError

_CARDS: Final = 10_000
_WIDTH: Final = 150
_FASTEST: Final = 60_000
"""Records of a pass of the relay and of score."""
_SCORE_PACE: Final = 40_000
_SPEED_S: Final = 6
"""How long a pass of a peer takes, about; one with a kill takes as long."""


def main() -> int:
    """Measure, print, write; returns the exit code."""
    settings = _settings()
    # The figures are those of the defaults, whatever this shell is set to.
    for name in [name for name in os.environ if name.startswith("FRAUD_")]:
        del os.environ[name]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(stderr=True)
    peers = tuple(peer for peer in PEERS if not settings.only or peer.name in settings.only)
    try:
        results = measure(peers, lambda text: console.print(text, style="dim", highlight=False), quick=settings.quick)
    except (BenchError, LocalStackError, TimeoutError) as exc:
        console.print(f"bench.peers: {exc}", markup=False)
        return 1
    show(results, Console(width=max(Console().width, _WIDTH)))
    out = ROOT / ".bench" / f"peers-{results.began.replace(':', '')}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    console.print(f"written: {out.relative_to(ROOT)}")
    return 0


def measure(peers: tuple[Peer, ...], say: Callable[[str], None], *, quick: bool) -> Results:
    """Measure the relay, score and some peers on servers of their own.

    Raises:
        BenchError: an environment cannot be made, or a process did not do what it is measured at.
        LocalStackError: the servers do not start.
    """
    began, began_s = format_rfc3339(int(time.time() * 1000)), time.monotonic()
    machine = this_machine()
    rounds, seconds, awkward = (1, _SPEED_S // 2, 3_000) if quick else (2, _SPEED_S, 6_000)
    pythons = interpreters(peers, say)
    with Lab(say) as lab, Peers(lab, pythons) as fleet:
        speed = _speeds(lab, fleet, peers, rounds, seconds, say)
        verdicts = _verdicts(lab, fleet, peers, seconds, awkward, say)
    systems = {
        name: Found(*label, speed[name], *verdicts.get(name, ()))
        for name, label in labels().items()
        if name in speed
    }  # fmt: skip
    return Results(
        began=began, quick=quick, seconds=time.monotonic() - began_s, machine=machine, systems=systems,
        settings={"cards": _CARDS, "awkward": awkward, "rounds": rounds},
    )  # fmt: skip


def _speeds(
    lab: Lab, fleet: Peers, peers: tuple[Peer, ...], rounds: int, seconds: int, say: Callable[[str], None]
) -> dict[str, list[Speed]]:
    found: dict[str, list[Speed]] = {name: [] for name in (RELAY, SCORE, *(peer.name for peer in peers))}
    warm_up_throughput(lab, _CARDS, _FASTEST)
    for number in range(rounds):
        say(f"speed: the relay and score, round {number + 1} of {rounds}")
        ours = measure_throughput(lab, _CARDS, _FASTEST, number)
        found[RELAY].append(speed_of(ours.relay, _FASTEST))
        found[SCORE].append(speed_of(ours.score, _FASTEST))
        for peer in peers:
            say(f"speed: {peer.label}")
            count = min(peer.pace * seconds, _FASTEST)
            found[peer.name].append(measure_peer(lab, fleet, peer, _CARDS, count, number))
    return found


def _verdicts(
    lab: Lab, fleet: Peers, peers: tuple[Peer, ...], seconds: int, awkward: int, say: Callable[[str], None]
) -> dict[str, tuple[Verdict, Killed]]:
    starts: dict[str, tuple[Start, int]] = {SCORE: (lambda prefix: lab.start("score", prefix), _SCORE_PACE)}
    for peer in peers:
        starts[peer.name] = _starter(fleet, peer), peer.pace
    found = {}
    for name, (start, pace) in starts.items():
        say(f"windows, and a kill -9: {name}")
        peace = in_peace(lab, start, prepare(lab, f"w-{name}-", awkward))
        killed = with_a_kill(lab, start, prepare(lab, f"k-{name}-", min(pace * seconds, _SCORE_PACE)))
        found[name] = peace, killed
    return found


def _starter(fleet: Peers, peer: Peer) -> Start:
    return lambda prefix: fleet.start(peer, prefix)


def _settings() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="The same job in other frameworks.")
    parser.add_argument("--quick", action="store_true", help="one round, fewer records")
    parser.add_argument("--only", nargs="+", choices=[peer.name for peer in PEERS], help="these peers, beside our own")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
