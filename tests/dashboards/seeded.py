"""Documents for every panel, of twelve days: made by the same functions that make them live."""

from __future__ import annotations

import asyncio
import json
import random
from functools import partial

import msgspec

from features.outage import Outage
from features.times import format_rfc3339
from scoring.label import decode_label
from sinks.bulk import BulkWriter
from sinks.dead_letter_documents import dead_letter_document
from sinks.deadletter import dead_letter
from sinks.documents import outcome_document
from sinks.index_template import setup_index
from sinks.label_store import LabelStore
from sinks.operations import drift_document, lag_document

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# Well away from the edges of the panel of ages.
OPENED_AGO_MS = (HOUR_MS // 2, 2 * HOUR_MS, 12 * HOUR_MS, 3 * DAY_MS, 10 * DAY_MS)
OUTCOMES = 500


def outcome(number, now_ms, rng):
    """One outcome of the last days, with everything that a panel may look at."""
    verdict = rng.choices(["approve", "review", "block"], [5, 3, 2])[0]
    ago_ms = rng.choice(OPENED_AGO_MS) if number % 20 else 20 * DAY_MS
    scored_ms = now_ms - ago_ms + rng.randrange(-60_000, 60_000)
    score = {"approve": 100, "review": 600, "block": 900}[verdict] + rng.randrange(100)
    fraud = {
        "score": score,
        "probability": (score + 0.5) / 1000,
        "outcome": verdict,
        "rule": rng.choice([None, "velocity", "embargo", "night"]) if verdict != "approve" else None,
        "features": {
            "num_trans_last_10m": rng.randrange(1, 9), "num_trans_last_1w": rng.randrange(9, 90),
            "avg_amt_last_10m": rng.uniform(1, 500), "avg_amt_last_1w": rng.uniform(1, 500),
            "amt_ratio1": rng.uniform(0.1, 9), "amt_ratio2": rng.uniform(0.1, 9), "count_ratio": rng.random(),
            "secs_since_last": rng.uniform(1, 604_800),
        },
        "model": rng.choice(["xgb-1", "xgb-2"]), "ruleset": rng.choice(["rules-1", "rules-2"]), "feature_set": "fs-1",
        "scored_at": format_rfc3339(scored_ms), "latency_ms": rng.randrange(3, 40),
        "source": {"topic": "transactions", "partition": 0, "offset": number},
        "shadow": {
            "model": "xgb-3", "score": score // 2, "probability": score / 2000,
            "outcome": rng.choice(["approve", "review"]), "rules": rng.sample(["s1", "s2", "s3"], rng.randrange(3)),
        },
    }  # fmt: skip
    if verdict != "approve":
        fraud["reasons"] = [
            {"code": code, "text": "why", "feature": "amount", "value": 1.5}
            for code in rng.sample(["BURST", "AMOUNT", "HOUR", "VELOCITY_1W"], 2)
        ]
    flags = {"late_by_ms": 5, "duplicate": True, "degraded": "store_away"}
    fraud |= {name: value for name, value in flags.items() if rng.random() < 0.2}
    amount_minor = rng.randrange(100, 100_000)
    return {
        "transaction_id": f"t-{number}", "card_id": f"card:{number % 28}", "type": "authorization",
        "amount": amount_minor / 100, "amount_minor": amount_minor,
        # A card has one currency.
        "currency": ("EUR", "USD", "CHF")[number % 28 % 3], "event_time": format_rfc3339(scored_ms - 1000),
        "merchant_id": f"m-{number % 20}", "merchant_category": rng.choice(["5411", "5999", "4829"]),
        "country": rng.choice(["DE", "FR", "US", "NG"]), "channel": rng.choice(["web", "pos", "app"]), "fraud": fraud,
    }  # fmt: skip


def label(number, made, now_ms, rng):
    """A label of an outcome; some name a transaction that nobody knows."""
    known = number % 9 != 0
    said = {
        "label_id": f"l-{number}", "transaction_id": made["transaction_id"] if known else f"unknown-{number}",
        "card_id": made["card_id"], "label": rng.choice(["fraud", "fraud", "valid", "undecided", "withdrawn"]),
        "source": rng.choice(["analyst", "chargeback"]), "analyst": rng.choice(["a.moreau", "b.okafor"]),
        "labelled_at": format_rfc3339(now_ms - rng.randrange(60_000, 11 * DAY_MS)), "event_time": made["event_time"],
    }  # fmt: skip
    return decode_label(json.dumps(said).encode())


def seed(client, prefix, now_ms):
    """Write everything; the same numbers every time, but for the times."""
    rng = random.Random(7)
    away = Outage("opensearch", "FRAUD_OPENSEARCH_URL")
    writer = BulkWriter(client, partial(setup_index, client, prefix), away)
    outcomes = [outcome(number, now_ms, rng) for number in range(OUTCOMES)]
    documents = [
        outcome_document(msgspec.json.encode(one), index_prefix=prefix, indexed_at_ms=now_ms) for one in outcomes
    ]
    labels = [label(number, one, now_ms, rng) for number, one in enumerate(outcomes) if number % 2]
    moments = [now_ms - hour * HOUR_MS for hour in range(1, 100)]
    reasons = ("bad_amount", "not_json", "missing_field")
    letters = [
        dead_letter_document(
            dead_letter(
                rng.choice(reasons), "why", topic=rng.choice(["transactions", "fraud_labels"]), partition=0,
                offset=at, timestamp_ms=moment, key=None, value=b"secret",
            ),
            place=(0, at), written_ms=moment, index_prefix=prefix,
        )
        for at, moment in enumerate(moments)
    ]  # fmt: skip
    samples = [
        lag_document(
            at_ms=moment, role=role, group=f"fraud-{role}", topic="t", lag=rng.randrange(1000), index_prefix=prefix
        )
        for moment in moments
        for role in ("score", "index", "alert")
    ]
    drifts = [
        drift_document(
            at_ms=moment, feature=feature, psi=rng.random(), ks=rng.random(), model="xgb-1", index_prefix=prefix
        )
        for moment in moments[::20]
        for feature in ("amount", "count_ratio", "score")
    ]

    async def write():
        assert await writer.write([*documents, *letters, *samples, *drifts]) == []
        assert await LabelStore(client, writer, prefix, away).write(labels, now_ms) == []

    setup_index(client, prefix)
    asyncio.run(write())
    client.indices.refresh(index=f"{prefix}*")
