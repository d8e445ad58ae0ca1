"""Compare what was published with what the oracle says of every record of the topic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from faults.events import Event, Planned, rfc3339
from faults.findings import Findings
from faults.oracle import Expected, Oracle
from faults.readback import Place, Stored

_TIMING: Final = frozenset({"scored_at", "latency_ms", "duplicate"})
_BY_MODEL: Final = frozenset({"model", "score", "probability", "outcome", "reasons"})
"""What may differ between a first answer and a repeat under another model."""

STORE_AWAY: Final = "store_away"
_WITHOUT_HISTORY: Final = frozenset({
    "partition", "key", "header outcome", "header transaction_id", "header score", "transaction_id", "card_id",
    "card_last4", "type", "original_transaction_id", "currency", "merchant_category", "country", "dropped_fields",
    "reversed", "card number in an outcome", "verdict of a reversal",
})  # fmt: skip
"""What is right of an outcome that was made without history."""
_EVERYTHING: Final = _WITHOUT_HISTORY | {
    "amount", "amount_minor", "event_time", "late_by_ms", "clock_skew_ms", "beyond_grace", "conflict", "reversal",
    "features", "duplicate",
}  # fmt: skip


class Excused(msgspec.Struct, frozen=True):
    """What outcomes may say in `fraud.degraded`; without history when they were published in that time, epoch ms."""

    flag: str = ""
    during_ms: range = range(0)

    def covers(self, flag: str, published_ms: int) -> bool:
        """Whether an outcome published then may say so; any batch may be slow."""
        return flag == self.flag and (flag != STORE_AWAY or published_ms in self.during_ms)


class Answer(msgspec.Struct, frozen=True):
    """An outcome as published, decoded; `fraud` is the decision in its `body`."""

    stored: Stored
    body: dict[str, Any]
    fraud: dict[str, Any]

    @property
    def place(self) -> Place:
        """Of the record that it answers."""
        return self.fraud["source"]["partition"], self.fraud["source"]["offset"]


class Asked(msgspec.Struct, frozen=True):
    """What a topic of transactions asks for, by the place of each record.

    Attributes:
        transactions: records in their home partition, their first timestamp, what they mean and what must be answered.
        letters: records that are no transactions.
        strays: records elsewhere than at home, and how often each was sent there.
        oracle: after all of it.
    """

    transactions: dict[Place, tuple[Stored, Planned, Event, Expected]]
    letters: dict[Place, Planned]
    strays: dict[Place, int]
    oracle: Oracle


def read_topic_of(plan: Iterable[Planned], records: Sequence[Stored], findings: Findings) -> Asked:
    """Work out what every record of the topic asks for, in the order in which it lies there."""
    meaning = {planned.value: planned for planned in plan}
    asked = Asked({}, {}, {}, Oracle())
    arrived: dict[Place, list[bytes | None]] = defaultdict(list)
    strays: dict[Place, bytes | None] = {}
    for record in records:
        partition, offset = record.place
        planned = meaning.get(record.value)
        if planned is None:
            findings.wrong("record in the topic that nobody sent", record.place)
        elif planned.event is None:
            asked.letters[record.place] = planned
        elif planned.home != partition:
            strays[record.place] = record.value
        else:
            broker_ms = record.ts_ms
            if (came_from := record.headers.get("rerouted_from")) is not None:
                origin, number, ts_ms = map(int, came_from.split(b":"))
                arrived[origin, number].append(record.value)
                broker_ms = min(broker_ms, ts_ms)
            said = asked.oracle.apply(planned.event, broker_ms, offset)
            asked.transactions[record.place] = record, planned, planned.event, said
    asked.strays.update({place: arrived[place].count(value) for place, value in strays.items()})
    for place in arrived.keys() - strays.keys():
        findings.wrong("record sent home that was there", place)
    return asked


def check_strays(asked: Asked, findings: Findings) -> None:
    """Every stray was sent home."""
    for place, times in asked.strays.items():
        if times == 0:
            findings.lost("stray that was not sent home", place)
        findings.repeated += max(times - 1, 0)


def check_outcomes(
    asked: Asked, outcomes: Sequence[Stored], findings: Findings, excused: Excused
) -> list[list[Answer]]:
    """Compare every answer; of one that was made without history, and may have been, what needs none.

    Returns:
        The answers of each record, in the order in which they were published.
    """
    found: dict[Place, list[Answer]] = defaultdict(list)
    for stored in outcomes:
        body = msgspec.json.decode(stored.value or b"{}")
        answer = Answer(stored, body, body["fraud"])
        found[answer.place].append(answer)
    for place in found.keys() - asked.transactions.keys():
        findings.wrong("answer to no transaction", place)
    for place, (_, planned, event, said) in asked.transactions.items():
        answers = found.get(place, [])
        if not answers:
            findings.lost("transaction without an answer", (place, event))
            continue
        findings.repeated += len(answers) - 1
        for answer in answers:
            flag = answer.fraud.get("degraded")
            is_excused = flag is not None and excused.covers(flag, answer.stored.ts_ms)
            findings.degraded += is_excused
            if flag is not None and not is_excused:
                findings.wrong(f"degraded: {flag}", place)
            checked = _WITHOUT_HISTORY if is_excused and flag == STORE_AWAY else _EVERYTHING
            for what in checked.intersection(_faults(answer, place, planned, event, said)):
                findings.wrong(what, (place, answer.stored.value, said))
        for again in answers[1:]:
            for name in sorted(_differences(answers[0], again)):
                findings.differs(name, (place, answers[0].stored.value, again.stored.value))
    return [answers for place, answers in found.items() if place in asked.transactions]


def unflagged_copies(asked: Asked, answers: Iterable[Sequence[Answer]]) -> int:
    """Producers' copies of which no answer says so: right where a crash made the offset come again, and only there.

    One that was answered without history does not count: nobody could know.
    """
    duplicates = {place for place, (_, _, _, said) in asked.transactions.items() if said.duplicate}
    told = {a.place for group in answers for a in group if "duplicate" in a.fraud or "degraded" in a.fraud}
    return len(duplicates - told)


def check_letters(asked: Asked, letters: Sequence[Stored], topic: str, findings: Findings) -> None:
    """Every record that is no transaction became a dead letter with its reason, and nothing else did."""
    found: dict[Place, list[tuple[str, bytes]]] = defaultdict(list)
    for stored in letters:
        body = msgspec.json.decode(stored.value or b"{}")
        if body["source"]["topic"] != topic:
            findings.wrong("dead letter of another topic", stored.value)
            continue
        found[body["source"]["partition"], body["source"]["offset"]].append((body["reason"], stored.value or b""))
    for place in found.keys() - asked.letters.keys():
        findings.wrong("dead letter of a transaction", (place, found[place]))
    for place, planned in asked.letters.items():
        came = found.get(place, [])
        if not came:
            findings.lost("dead letter", (place, planned.reason))
            continue
        findings.repeated += len(came) - 1
        if {reason for reason, _ in came} != {planned.reason}:
            findings.wrong(f"reason {came[0][0]} instead of {planned.reason}", place)
        elif any(planned.secret and planned.secret in value for _, value in came):
            findings.wrong("card number in a dead letter", place)
        else:
            findings.dead_letters += 1


def _differences(first: Answer, again: Answer) -> set[str]:
    ignored = _TIMING | (_BY_MODEL if first.fraud["model"] != again.fraud["model"] else frozenset())

    def lasting(answer: Answer) -> dict[str, Any]:
        fraud = {f"fraud.{name}": value for name, value in answer.fraud.items() if name not in ignored}
        return {**{name: value for name, value in answer.body.items() if name != "fraud"}, **fraud}

    one, other = lasting(first), lasting(again)
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def _faults(answer: Answer, place: Place, planned: Planned, event: Event, said: Expected) -> list[str]:
    """Names of everything that an answer says otherwise than the oracle."""
    body, fraud, stored = answer.body, answer.fraud, answer.stored
    pairs: dict[str, tuple[object, object]] = {
        "partition": (stored.place[0], place[0]),
        "key": (stored.key, event.card.encode()),
        "header outcome": (stored.headers.get("outcome"), fraud["outcome"].encode()),
        "header transaction_id": (stored.headers.get("transaction_id"), event.transaction_id.encode()),
        "header score": (stored.headers.get("score"), str(fraud["score"]).encode() if "score" in fraud else None),
        **{name: (body.get(name), value) for name, value in _known(event, said).items()},
        "late_by_ms": (fraud.get("late_by_ms"), said.late_by_ms),
        "clock_skew_ms": (fraud.get("clock_skew_ms"), said.clock_skew_ms),
        "beyond_grace": (fraud.get("beyond_grace", False), said.beyond_grace),
        "conflict": (fraud.get("conflict", False), said.conflict),
        "dropped_fields": (tuple(fraud.get("dropped_fields", ())), event.dropped),
        "reversal": (fraud.get("reversal"), said.reversal),
        "reversed": (fraud.get("reversed"), event.original),
    }
    if not said.inexact:
        pairs["features"] = (fraud.get("features"), said.features)
    wrong = [name for name, (is_, should) in pairs.items() if is_ != should]
    if fraud.get("duplicate", False) and not said.duplicate:
        wrong.append("duplicate")
    if said.reversal is not None and (fraud["outcome"] != "approve" or "score" in fraud):
        wrong.append("verdict of a reversal")
    if planned.secret and (planned.secret in (stored.value or b"") or planned.secret in (stored.key or b"")):
        wrong.append("card number in an outcome")
    return wrong


def _known(event: Event, said: Expected) -> Mapping[str, object]:
    unit = 10**event.exponent
    return {
        "transaction_id": event.transaction_id,
        "card_id": event.card,
        "card_last4": event.last4,
        "type": "authorization" if event.original is None else "reversal",
        "original_transaction_id": event.original,
        "amount": said.amount_minor / unit,
        "amount_minor": said.amount_minor,
        "currency": event.currency,
        "event_time": rfc3339(said.shown_ms),
        "merchant_category": event.mcc,
        "country": event.country,
    }
