"""Outcomes, records and plans for the tests of the alert role."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from confluent_kafka import Message as Record
from pydantic import SecretStr

from streams.alert.message import Alert, alert_of, decode_outcome
from streams.alert.plan import Channel, Plan, Route
from streams.role import Chunk

NOW_MS = 1_767_323_050_000
TOPIC = "processed_transactions"
KEY = "0123456789abcdef0123456789abcdef"
DAY_MS = 86_400_000


def outcome(number: int | str, **changed: Any) -> bytes:
    fraud = {"score": 900, "probability": 0.9, "outcome": "block", "rule": None, "reasons": [], "model": "m"}
    fraud |= changed.pop("fraud", {})
    body = {
        "transaction_id": f"tx-{number}", "card_id": "tok_a", "amount": 12.5, "amount_minor": 1250, "currency": "EUR",
        "event_time": "2026-01-02T03:04:05.678Z", "fraud": fraud,
    }  # fmt: skip
    return json.dumps(body | changed).encode()


def alert(number: int | str, **changed: Any) -> Alert:
    return alert_of(decode_outcome(outcome(number, **changed)), "r", f"{TOPIC}:0:{number}")


def record(offset: int, value: bytes | None, verdict: str | None = "block", at_ms: int = NOW_MS) -> Record:
    headers = [] if verdict is None else [("outcome", verdict.encode())]
    return Record(topic=TOPIC, partition=0, offset=offset, key=b"k", value=value, headers=headers, timestamp=(1, at_ms))


def chunk(*records: Record) -> list[Chunk]:
    return [Chunk(TOPIC, 0, records)]


def webhook(name: str = "cases", url: str = "http://127.0.0.1:1/", **changed: Any) -> Channel:
    given: dict[str, Any] = {
        "kind": "webhook", "url": SecretStr(url), "keys": (SecretStr(KEY),), "timeout_s": 2.0, "digest_ms": 0,
        "quiet": None, "give_up_ms": DAY_MS,
    }  # fmt: skip
    return Channel(name=name, **(given | changed))


def route(*channels: str, **changed: Any) -> Route:
    given: dict[str, Any] = {
        "name": "r", "outcomes": frozenset({"review", "block"}), "rules": frozenset(), "currencies": frozenset(),
        "min_score": 0, "min_amount": Decimal(0), "channels": channels, "per_card": None, "per_rule": None,
    }  # fmt: skip
    return Route(**(given | changed))


def plan(*channels: Channel, routes: list[Route] | None = None, **changed: Any) -> Plan:
    given: dict[str, Any] = {"skip_older_ms": DAY_MS, "remember_ms": 3 * DAY_MS, "most_waiting": 1_000}
    return Plan(
        {channel.name: channel for channel in channels},
        tuple(routes or [route(*(channel.name for channel in channels))]),
        **(given | changed),
    )
