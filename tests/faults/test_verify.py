"""The verifier of the fault matrix sees what is planted: a lost, a wrong, a repeated answer, and the rest."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest

from faults.check_outcomes import Excused, read_topic_of
from faults.events import card_number, rfc3339
from faults.findings import Findings
from faults.readback import Indexed, Left, Stored
from faults.traffic import KINDS, Traffic
from faults.verify import verify
from features.history import Entries, country_code, header, mcc_code, pack_words
from scoring.manifest import Thresholds

NOW_MS = 1_790_000_000_000
NOTHING = Excused()
PREFIX, TOPIC = "p-", "p-transactions"


class Model:
    """Everything is harmless."""

    version = "m1"
    thresholds = Thresholds(0.25, 0.75, 0.003, 0.0005)

    def predict(self, rows):
        return np.full(len(rows), 0.125, np.float32)


@dataclass
class World:
    """What a faultless pipeline leaves behind; tests spoil it."""

    plan: list
    transactions: list = field(default_factory=list)
    outcomes: list = field(default_factory=list)
    letters: list = field(default_factory=list)
    documents: dict = field(default_factory=dict)
    histories: dict = field(default_factory=dict)
    applied: dict = field(default_factory=dict)
    lasting: list = field(default_factory=list)

    def judge(self, excused=NOTHING):
        left = Left(
            self.transactions, self.outcomes, self.letters, list(self.documents.values()), self.histories, self.applied
        )
        return verify(self.plan, left, TOPIC, PREFIX, {"m1": Model()}, excused)

    def notes(self):
        return self.judge().findings.notes()


def publish(plan):
    """The topic: every record where its producer put it, strays again at home."""
    ends, records = defaultdict(int), []

    def append(partition, planned, headers):
        records.append(Stored((partition, ends[partition]), NOW_MS, planned.key, planned.value, headers))
        ends[partition] += 1
        return records[-1].place

    for planned in plan:
        place = append(planned.partition, planned, {})
        if planned.event is not None and planned.home != planned.partition:
            append(planned.home, planned, {"rerouted_from": f"{place[0]}:{place[1]}:{NOW_MS}".encode()})
    return sorted(records, key=lambda record: record.place), {p: end - 1 for p, end in ends.items()}


def body_of(place, event, said):
    """An outcome, from the words of the contract."""
    fraud = {
        "outcome": "approve", "model": "m1", "scored_at": rfc3339(NOW_MS + 5), "latency_ms": 5,
        "source": {"topic": TOPIC, "partition": place[0], "offset": place[1]}, "clock_skew_ms": said.clock_skew_ms,
        "late_by_ms": said.late_by_ms, "beyond_grace": said.beyond_grace or None, "conflict": said.conflict or None,
        "duplicate": said.duplicate or None, "dropped_fields": list(event.dropped) or None,
        "reversal": said.reversal, "reversed": event.original, "features": said.features,
    }  # fmt: skip
    if said.features is not None:
        fraud |= {"score": 125, "probability": 0.125, "reasons": []}
    body = {
        "transaction_id": event.transaction_id, "card_id": event.card, "card_last4": event.last4,
        "type": "authorization" if event.original is None else "reversal", "original_transaction_id": event.original,
        "amount": said.amount_minor / 10**event.exponent, "amount_minor": said.amount_minor,
        "currency": event.currency, "event_time": rfc3339(said.shown_ms), "merchant_category": event.mcc,
        "country": event.country,
    }  # fmt: skip
    kept = {name: value for name, value in body.items() if value is not None}
    return {**kept, "fraud": {name: value for name, value in fraud.items() if value is not None}}


def stored_outcome(offset, body):
    headers = {"outcome": b"approve", "transaction_id": body["transaction_id"].encode()}
    if "score" in body["fraud"]:
        headers["score"] = b"125"
    partition = body["fraud"]["source"]["partition"]
    return Stored((partition, offset), NOW_MS + 5, body["card_id"].encode(), json.dumps(body).encode(), headers)


def document_of(body):
    clamped_ms = body["fraud"].get("clock_skew_ms", 0)
    day = rfc3339(NOW_MS)[:10] if clamped_ms else body["event_time"][:10]
    too_old = day < rfc3339(NOW_MS - 400 * 86_400_000)[:10]
    index = f"{PREFIX}processed_transactions-{'older' if too_old else day.replace('-', '.')}"
    source = copy.deepcopy(body)
    source["indexed_at"] = rfc3339(NOW_MS + 50)
    source["fraud"] |= {"is_block": 0, "is_review": 0, "is_late": 0, "is_degraded": 0}
    return Indexed(index, f"{body['card_id']}:{body['transaction_id']}", source)


def packed(entries):
    columns = Entries(
        time_ms=np.array([e.time_ms for e in entries]),
        amount_minor=np.array([e.amount_minor for e in entries]),
        reversal=np.array([e.reversal for e in entries]),
        clamped=np.array([e.clamped for e in entries]),
        identity=np.array(
            [
                int.from_bytes(hashlib.blake2b(e.transaction_id.encode(), digest_size=8).digest(), "little")
                for e in entries
            ],
            np.uint64,
        ),
        country=np.array([country_code(e.country) for e in entries]),
        mcc=np.array([mcc_code(e.mcc) for e in entries]),
    )
    return header(0, 0) + pack_words(columns).tobytes()


@pytest.fixture(scope="module")
def faultless():
    kinds = sorted(KINDS.keys() - {"poison"})
    plan = Traffic(3, 1_200, kinds, share=0.4, now_ms=NOW_MS, partitions=4).records(1_200)
    world = World(plan)
    world.transactions, world.applied = publish(plan)
    asked = read_topic_of(plan, world.transactions, Findings())
    ends = defaultdict(int)
    for place, (_, _, event, said) in asked.transactions.items():
        body = body_of(place, event, said)
        world.outcomes.append(stored_outcome(ends[place[0]], body))
        ends[place[0]] += 1
        document = document_of(body)
        world.documents[document.index, document.id] = document
    for number, (place, planned) in enumerate(asked.letters.items()):
        letter = {"reason": planned.reason, "source": {"topic": TOPIC, "partition": place[0], "offset": place[1]}}
        world.letters.append(Stored((0, number), NOW_MS, None, json.dumps(letter).encode(), {}))
    homes = {p.event.card: p.home for p in plan if p.event is not None}
    world.histories = {(homes[c], c): packed(entries) for c, (entries, _) in asked.oracle.entries().items()}
    # Cards of whose entries none is so old that it may be there or not.
    world.lasting = [
        (homes[card], card)
        for card, (entries, since_ms) in asked.oracle.entries().items()
        if len(entries) > 2 and all(entry.time_ms >= since_ms for entry in entries)
    ]
    return world


@pytest.fixture
def world(faultless):
    return copy.deepcopy(faultless)


def changed(stored, change):
    body = json.loads(stored.value)
    change(body)
    return Stored(stored.place, stored.ts_ms, stored.key, json.dumps(body).encode(), stored.headers)


def scored(world):
    """Position of an outcome with features."""
    return next(i for i, stored in enumerate(world.outcomes) if b'"features"' in stored.value)


def test_a_faultless_run_has_no_findings(world):
    verified = world.judge()
    assert verified.findings.notes() == []
    assert verified.findings.repeated == verified.unflagged == 0
    assert verified.findings.dead_letters == len(world.letters) > 30
    assert len(verified.answers) > 900


def test_a_lost_outcome_is_seen(world):
    lost = world.outcomes.pop(scored(world))
    notes = world.notes()
    assert any(note.startswith("lost: 1 x transaction without an answer") for note in notes), notes
    assert json.loads(lost.value)["transaction_id"] in notes[0]


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("features", lambda b: b["fraud"]["features"].update(num_trans_last_1w=99)),
        ("features", lambda b: b["fraud"]["features"].update(amount=b["fraud"]["features"]["amount"] * (1 + 1e-15))),
        ("verdict", lambda b: b["fraud"].update(probability=0.25)),
        ("late_by_ms", lambda b: b["fraud"].update(late_by_ms=1)),
        ("beyond_grace", lambda b: b["fraud"].update(beyond_grace=not b["fraud"].get("beyond_grace", False))),
        ("conflict", lambda b: b["fraud"].update(conflict=not b["fraud"].get("conflict", False))),
        ("degraded: store_away", lambda b: b["fraud"].update(degraded="store_away")),
        ("amount_minor", lambda b: b.update(amount_minor=b["amount_minor"] + 1)),
        ("event_time", lambda b: b.update(event_time="2020-01-01T00:00:00.000Z")),
        ("header outcome", lambda b: b["fraud"].update(outcome="block")),
        ("model that is not in use", lambda b: b["fraud"].update(model="m2")),
    ],
)
def test_a_wrong_outcome_is_seen(world, what, change):
    at = scored(world)
    world.outcomes[at] = changed(world.outcomes[at], change)
    notes = world.notes()
    assert any(note.startswith(f"wrong: 1 x {what}, ") for note in notes), notes


def test_an_answer_to_nothing_is_seen(world):
    world.outcomes.append(changed(world.outcomes[0], lambda b: b["fraud"]["source"].update(offset=10**6)))
    assert any("answer to no transaction" in note for note in world.notes())


def test_a_repeat_is_counted_and_a_differing_one_is_wrong(world):
    at = scored(world)
    again = world.outcomes[at]
    world.outcomes.append(changed(again, lambda b: b["fraud"].update(scored_at=rfc3339(NOW_MS + 99))))
    findings = world.judge().findings
    assert findings.repeated == 1
    assert findings.count("differs") == findings.count("lost") == 0

    world.outcomes.append(changed(again, lambda b: b["fraud"]["features"].update(hour_of_day=25)))
    findings = world.judge().findings
    assert findings.repeated == 2
    assert findings.count("differs") == 1


def test_a_copy_that_is_not_flagged_is_counted(world):
    at = next(i for i, stored in enumerate(world.outcomes) if b'"duplicate"' in stored.value)
    world.outcomes[at] = changed(world.outcomes[at], lambda b: b["fraud"].pop("duplicate"))
    assert world.judge().unflagged == 1


def test_a_flag_that_no_copy_earned_is_wrong(world):
    at = next(i for i, s in enumerate(world.outcomes) if b'"features"' in s.value and b'"duplicate"' not in s.value)
    world.outcomes[at] = changed(world.outcomes[at], lambda b: b["fraud"].update(duplicate=True))
    assert any(note.startswith("wrong: 1 x duplicate") for note in world.notes())


def test_dead_letters_are_compared(world):
    world.letters[0] = changed(world.letters[0], lambda b: b.update(reason="poison"))
    lost = world.letters.pop()
    world.letters.append(world.letters[1])
    verified = world.judge()
    assert any("reason poison instead of" in note for note in verified.findings.notes())
    assert any(note.startswith("lost: 1 x dead letter") for note in verified.findings.notes())
    assert verified.findings.repeated == 1
    world.letters.append(changed(lost, lambda b: b.update(payload=card_number(123_456))))
    assert any("card number in a dead letter" in note for note in world.notes())


def test_a_stray_that_never_came_home_is_lost(world):
    at = next(i for i, stored in enumerate(world.transactions) if "rerouted_from" in stored.headers)
    gone = world.transactions.pop(at)
    world.outcomes = [s for s in world.outcomes if json.loads(s.value)["fraud"]["source"]["offset"] != gone.place[1]]
    assert any(note.startswith("lost: 1 x stray that was not sent home") for note in world.notes())


def test_a_wrong_history_is_seen(world):
    cards = sorted(world.lasting, key=lambda place: -len(world.histories[place]))
    whole = world.histories[cards[0]]
    for wrong in (whole[:-24], whole + whole[8:32], whole[:8] + whole[-24:] + whole[8:-24]):
        world.histories[cards[0]] = wrong
        assert any(note.startswith("wrong: 1 x history") for note in world.notes())
    del world.histories[cards[0]]
    assert any(note.startswith("lost: 1 x history") for note in world.notes())


def test_a_partition_that_was_not_applied_to_its_end_is_seen(world):
    world.applied[2] -= 1
    assert any("applied" in note for note in world.notes())


def test_documents_are_compared(world):
    places = list(world.documents)
    del world.documents[places[0]]
    world.documents[places[1]].source["amount_minor"] += 1
    twice = world.documents[places[2]]
    world.documents["again"] = Indexed("p-processed_transactions-1999.01.01", twice.id, copy.deepcopy(twice.source))
    notes = world.notes()
    assert any(note.startswith("lost: 1 x document") for note in notes)
    assert any(note.startswith("wrong: 1 x document, ") for note in notes)
    assert any(note.startswith("wrong: 1 x document that should not be there") for note in notes)


def test_an_outcome_without_history_is_excused_in_its_time_alone(world):
    at = scored(world)

    def degrade(body):
        body["fraud"]["degraded"] = "store_away"
        body["fraud"]["features"]["num_trans_last_1w"] = 77
        world.documents.clear()

    world.outcomes[at] = changed(world.outcomes[at], degrade)
    in_time = Excused("store_away", range(NOW_MS, NOW_MS + 10))
    assert [n for n in world.judge(in_time).findings.notes() if n.startswith("wrong")] == []
    assert world.judge(in_time).findings.degraded == 1
    for excused in (Excused("store_away", range(NOW_MS)), Excused("deadline", in_time.during_ms)):
        notes = world.judge(excused).findings.notes()
        assert any(note.startswith("wrong: 1 x degraded: store_away") for note in notes), notes
        assert any(note.startswith("wrong: 1 x features") for note in notes), notes
