"""What a run of the peers found: written as JSON, printed as a table."""

from __future__ import annotations

from statistics import median
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from bench.machine import Machine
from bench.peers.peers import PEERS
from bench.peers.speed import Speed
from bench.peers.truth import Killed
from bench.peers.verdict import Verdict

RELAY: Final = "relay"
SCORE: Final = "score"


class Found(msgspec.Struct, frozen=True):
    """Of one system: its speed in each round, and its verdicts; the relay looks at nothing and has none.

    Attributes:
        label: for people.
        version: of the framework; empty of our own.
        peace: over awkward records, undisturbed.
        killed: over more of them, with a kill -9 in the middle.
    """

    label: str
    version: str
    speed: list[Speed]
    peace: Verdict | None = None
    killed: Killed | None = None

    @property
    def per_s(self) -> float:
        """Median of events per second."""
        return median(one.per_s for one in self.speed)

    @property
    def cpu_us(self) -> float:
        """Median of CPU microseconds per event."""
        return median(one.cpu_us for one in self.speed)


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Everything measured in a run; systems by name: `relay`, `score`, and the peers."""

    began: str
    quick: bool
    seconds: float
    machine: Machine
    settings: dict[str, int]
    systems: dict[str, Found]

    def times(self, name: str) -> float:
        """Score's rate as a multiple of a system's: the median over the rounds, each within itself."""
        pairs = zip(self.systems[SCORE].speed, self.systems[name].speed, strict=True)
        return median(ours.per_s / theirs.per_s for ours, theirs in pairs)


def labels() -> dict[str, tuple[str, str]]:
    """Label and version of every system, in the order of the table."""
    ours = {RELAY: ("bare confluent-kafka relay", ""), SCORE: ("fraudstream score", "")}
    return ours | {peer.name: (peer.label, peer.version) for peer in PEERS}


def show(results: Results, console: Console) -> None:
    """Print the table."""
    m = results.machine
    console.print(
        f"\n{m.processor}, {m.cores} cores, {m.system}, load before {m.load_before}, {results.seconds:.0f} s in all"
    )
    console.print(table_of(results))


def table_of(results: Results) -> Table:
    """A row per system."""
    title = (
        f"The same job, {results.settings['cards']:,} cards; windows over {results.settings['awkward']:,} records, "
        "some of them late, repeated or reversed; and with one kill -9"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in (
        "events/s", "score is", "CPU us/event", "wrong windows", "killed: lost", "repeated", "wrong then",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for name, found in results.systems.items():
        table.add_row(*row_of(results, name, found))
    return table


def row_of(results: Results, name: str, found: Found) -> list[str]:
    """The cells of a system."""
    label = f"{found.label} ({found.version})" if found.version else found.label
    cells = [label, f"{found.per_s:,.0f}", f"{results.times(name):.2f} x", f"{found.cpu_us:,.0f}"]
    peace, killed = found.peace, found.killed
    if peace is None or killed is None:
        return [*cells, *[""] * 4]
    then = killed.verdict
    return [
        *cells, f"{peace.wrong_share:.2%}", f"{then.lost:,}", f"{then.repeated:,} of {killed.answered:,}",
        f"{then.wrong_share:.2%}",
    ]  # fmt: skip
