"""What the demo found: the story of every attack, the counts, and whether they add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from rich.table import Table

from local.demo_play import CARD_NUMBER_ID, HOSTILE, Sent
from local.demo_watch import Answer, Watch
from local.traffic import ScenarioEvent

FLAGGED: Final = frozenset({"review", "block"})


@dataclass(frozen=True)
class Burst:
    """The burst's transactions, and how long the last outcome took to be readable."""

    ids: frozenset[str]
    seconds: float


@dataclass(frozen=True)
class Findings:
    """Everything that is known when the play is over.

    Attributes:
        script: the scenario.
        sent: what was published.
        answers: first outcome of every transaction, by its id.
        repeated: outcomes that came more than once.
        letters: reasons of the dead letters.
        indexed: documents in OpenSearch.
        burst: the part that was sent at full speed.
    """

    script: Sequence[ScenarioEvent]
    sent: Sent
    answers: Mapping[str, Answer]
    repeated: int
    letters: Sequence[str]
    indexed: int
    burst: Burst

    @classmethod
    def of(cls, script: Sequence[ScenarioEvent], sent: Sent, watch: Watch, indexed: int, burst: Burst) -> Findings:
        """What a watch has seen."""
        return cls(script, sent, watch.answers, watch.repeated, watch.letters, indexed, burst)

    def outcome(self, planned: ScenarioEvent) -> str:
        """What became of a transaction of the scenario."""
        answer = self.answers.get(planned.event.transaction["transaction_id"])
        return "no answer" if answer is None else answer.fraud.outcome

    def attacks(self) -> dict[int, list[ScenarioEvent]]:
        """Transactions of each attack, in order."""
        attacks: dict[int, list[ScenarioEvent]] = {}
        for planned in self.script:
            if planned.event.label.attack_id is not None:
                attacks.setdefault(planned.event.label.attack_id, []).append(planned)
        return attacks

    def caught_at(self, attack: list[ScenarioEvent]) -> int | None:
        """At which of its transactions an attack was first flagged."""
        return next((place for place, one in enumerate(attack, start=1) if self.outcome(one) in FLAGGED), None)

    def false_alarms(self) -> int:
        """Ordinary transactions of the scenario that were flagged."""
        return sum(not one.event.label.is_fraud and self.outcome(one) in FLAGGED for one in self.script)


def problems(found: Findings) -> list[str]:
    """Every expectation that was not met, a line each; none is what a demo is for."""
    missing = found.sent.at_s.keys() - found.answers.keys()
    strange = found.answers.keys() - found.sent.at_s.keys()
    expected = Counter(reason for reason, _ in HOSTILE)
    got = Counter(found.letters)
    lines = [
        (bool(missing), f"{len(missing):,} transactions have no outcome, such as {next(iter(missing), '')}"),
        (bool(strange), f"{len(strange):,} outcomes are of no transaction, such as {next(iter(strange), '')}"),
        (got != expected, f"dead letters are {_listed(got)}; they should be {_listed(expected)}"),
        (
            found.indexed != len(found.answers),
            f"{found.indexed:,} documents are indexed, but {len(found.answers):,} transactions have an outcome",
        ),
    ]
    number = found.answers.get(CARD_NUMBER_ID)
    lines.append((number is None or not number.card_id.startswith("tok_"), "a card number was not tokenised"))
    for planned in found.script:
        outcome = found.outcome(planned)
        as_expected = outcome in FLAGGED if planned.expected == "flagged" else outcome == planned.expected
        what = f"{planned.part} {planned.event.transaction['transaction_id']}: {outcome}, not {planned.expected}"
        lines.append((planned.expected is not None and not as_expected, what))
    return [line for wrong, line in lines if wrong]


def summary(found: Findings) -> Table:
    """The closing table."""
    table = Table(title="What happened", show_header=False, title_justify="left", pad_edge=True)
    table.add_column(style="bold")
    table.add_column()
    outcomes = Counter(answer.fraud.outcome for answer in found.answers.values())
    missing = len(found.sent.at_s.keys() - found.answers.keys())
    repeated = f", {found.repeated:,} delivered more than once" if found.repeated else ""
    table.add_row(
        "records in", f"{found.sent.total:,} ({len(found.sent.at_s):,} transactions, {found.sent.hostile} not)"
    )
    table.add_row("outcomes", f"{len(found.answers):,}, {missing} missing{repeated}")
    table.add_row("", ", ".join(f"{outcomes[name]:,} {name}" for name in ("approve", "review", "block")))
    table.add_row("documents indexed", f"{found.indexed:,}")
    table.add_row("dead letters", f"{len(found.letters)}: {_listed(Counter(found.letters))}")
    table.add_section()
    attacks = found.attacks()
    places = Counter(found.caught_at(attack) for attack in attacks.values())
    shown = ", ".join(
        f"{count} never" if place is None else f"{count} at transaction {place}" for place, count in places.items()
    )
    table.add_row("attacks caught", f"{len(attacks) - places[None]} of {len(attacks)}: {shown}")
    ordinary = sum(not one.event.label.is_fraud for one in found.script)
    alarms = found.false_alarms()
    table.add_row("false alarms", f"{alarms} of {ordinary:,} ordinary transactions ({alarms / ordinary:.2%})")
    table.add_section()
    scored, readable = _latencies_ms(found)
    table.add_row("latency, received to scored", _percentiles(scored))
    table.add_row("latency, sent to outcome readable", _percentiles(readable))
    speed = len(found.burst.ids) / found.burst.seconds
    table.add_row(
        f"throughput, a burst of {len(found.burst.ids):,}", f"{speed:,.0f} transactions/s, every server on this machine"
    )
    return table


def _latencies_ms(found: Findings) -> tuple[list[float], list[float]]:
    """Of the paced part; in the burst every record waits for those before it."""
    paced = [answer for key, answer in found.answers.items() if key not in found.burst.ids]
    readable = [(answer.received_s - found.sent.at_s[answer.transaction_id]) * 1000 for answer in paced]
    return [answer.fraud.latency_ms for answer in paced], readable


def _percentiles(values_ms: list[float]) -> str:
    if not values_ms:
        return "-"
    middle, high = np.percentile(values_ms, (50, 99))
    return f"p50 {middle:.1f} ms, p99 {high:.1f} ms"


def _listed(reasons: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "none"
