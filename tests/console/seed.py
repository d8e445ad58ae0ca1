"""Outcomes as the pipeline would have written them, straight into OpenSearch: a busy week with attacks."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from opensearchpy import OpenSearch, helpers

from features.times import format_rfc3339
from sinks.documents import outcome_document

DAY_MS = 86_400_000
_AT_ONCE = 5000
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}&amp;"
PAN = "4111111111111111"
COUNTRIES = ("DE", "FR", "NL", "ES", "IT", "GB", "US", "BR")
CURRENCIES = ("EUR", "EUR", "EUR", "GBP", "USD", "JPY")
CATEGORIES = ("5411", "5732", "5812", "5944", "4829", "7995", "5541")


def outcome(
    card: str, name: str, at_ms: int, *, score: int = 40, amount: int = 4250, currency: str = "EUR", **more: Any
) -> dict[str, Any]:
    """One outcome, as it stands in the topic; `amount` in minor units."""
    verdict = "block" if score >= 900 else "review" if score >= 300 else "approve"
    decimals = {"JPY": 1, "KWD": 1000}.get(currency, 100)
    reasons = _reasons(score, amount / decimals) if verdict != "approve" else []
    fields = {
        "transaction_id": name,
        "card_id": card,
        "type": "authorization",
        "amount": amount / decimals,
        "amount_minor": amount,
        "currency": currency,
        "event_time": format_rfc3339(at_ms),
        "merchant_id": "merchant-0001",
        "merchant_category": "5411",
        "country": "DE",
        "channel": "web",
        "device_id": f"device-{card}",
        "ip_address": "192.0.2.7",
        "email": f"{card}@example.com",
        "fraud": {
            "score": score,
            "probability": score / 1000,
            "outcome": verdict,
            "rule": "card-testing" if score >= 950 else None,
            "reasons": reasons,
            "features": {"num_trans_last_10m": 6, "avg_amt_last_1w": 38.25, "amt_ratio2": 11.4, "count_ratio": 0.5},
            "model": "xgb-20260101",
            "ruleset": "rs-1",
            "feature_set": "fs-1",
            "scored_at": format_rfc3339(at_ms + 12),
            "latency_ms": 9,
            "source": {"topic": "transactions", "partition": 0, "offset": 1},
        },
    }
    for key, value in more.items():
        fields["fraud" if key == "fraud" else key] = {**fields["fraud"], **value} if key == "fraud" else value
    return fields


def _reasons(score: int, amount: float) -> list[dict[str, Any]]:
    found = [
        {"code": "VELOCITY_10M", "text": "6 transactions in the last 10 minutes", "feature": "num_trans_last_10m",
         "value": 6, "contribution": round(score / 350, 3)},
        {"code": "AMOUNT_UNUSUAL", "text": f"the amount is {amount / 38:.1f} times the card's average of the week",
         "feature": "amt_ratio2", "value": amount / 38, "contribution": round(score / 520, 3)},
        {"code": "BURST", "text": "0.5 of the week's transactions fell into the last 10 minutes",
         "feature": "count_ratio", "value": 0.5, "contribution": round(score / 900, 3)},
        {"code": "RAPID_REPEAT", "text": "41 seconds after the card's last transaction", "feature": "secs_since_last",
         "value": 41, "contribution": round(score / 1500, 3)},
    ]  # fmt: skip
    weights = sorted((reason.pop("contribution") for reason in found), reverse=True)
    turned = found[score % 4 :] + found[: score % 4]
    return [reason | {"contribution": weight} for reason, weight in zip(turned, weights, strict=True)]


def attack(card: str, start_ms: int, *, device: str, merchant: str = "merchant-0042") -> Iterator[dict[str, Any]]:
    """Small purchases every other minute on one card, caught from the third on, on a device that others share."""
    shared = {"device_id": device, "ip_address": "198.51.100.23", "merchant_id": merchant, "merchant_category": "5732"}
    for number, (score, amount) in enumerate([(35, 199), (120, 1250), (480, 24900), (720, 51900), (930, 89900)]):
        at_ms = start_ms + number * 110_000
        yield outcome(card, f"{card}-attack-{number}", at_ms, score=score, amount=amount, country="BR", **shared)


def busy_week(now_ms: int, cards: int = 120, seed: int = 7) -> Iterator[dict[str, Any]]:
    """Ordinary purchases of a week, some flagged, and eight attacks of today."""
    rng = random.Random(seed)
    for card in range(cards):
        for number in range(rng.randint(6, 26)):
            at_ms = now_ms - int(rng.random() ** 1.6 * 7 * DAY_MS) - 60_000
            odd = rng.random()
            score = (
                rng.randint(300, 890) if odd < 0.025 else rng.randint(900, 990) if odd < 0.033 else rng.randint(0, 240)
            )
            merchant = int(200 * rng.random() ** 2)
            yield outcome(
                f"card-{card:04d}", f"tx-{card:04d}-{number:03d}", at_ms, score=score,
                amount=int(10 ** rng.uniform(2.4, 4.6)), currency=rng.choice(CURRENCIES),
                merchant_id=f"merchant-{merchant:04d}", merchant_category=CATEGORIES[merchant % len(CATEGORIES)],
                country=rng.choice(COUNTRIES), ip_address=f"192.0.2.{rng.randint(1, 250)}",
                channel=rng.choice(["web", "app", "pos"]),
            )  # fmt: skip
    for number in range(8):
        began_ms = now_ms - (number * 67 + 12) * 60_000
        yield from attack(f"card-{number:04d}", began_ms, device=f"device-ring-{number // 3}")


def store(client: OpenSearch, prefix: str, outcomes: Iterable[dict[str, Any]], now_ms: int) -> int:
    """Write them, each into its day's index, and let them be found at once."""
    actions = []
    for one in outcomes:
        document = outcome_document(msgspec.json.encode(one), index_prefix=prefix, indexed_at_ms=now_ms)
        actions.append({"_index": document.index, "_id": document.id, "_source": json.loads(document.body)})
    stored, _ = helpers.bulk(client, actions, chunk_size=2000)
    client.indices.refresh(index=f"{prefix}processed_transactions*")
    return stored


def store_many(client: OpenSearch, prefix: str, count: int, now_ms: int) -> None:
    """Write open cases that differ in names, score and amount, quickly: one document, changed in place."""
    value = msgspec.json.encode(outcome("many", "many", now_ms - 3_600_000, score=500))
    made = outcome_document(value, index_prefix=prefix, indexed_at_ms=now_ms)
    fields = msgspec.json.decode(made.body)
    del fields["fraud"]["features"], fields["fraud"]["reasons"][1:]
    for first in range(0, count, _AT_ONCE):
        lines = []
        for n in range(first, first + _AT_ONCE):
            fields |= {"card_id": f"many-{n % 5000}", "transaction_id": f"many-{n}", "amount": 1 + n / 100}
            fields["fraud"]["score"] = 300 + n % 600
            fields["review"]["expected_loss"] = fields["amount"] * fields["fraud"]["score"] / 1000
            lines += [b'{"index":{"_id":"many-%d"}}' % n, msgspec.json.encode(fields)]
        assert not client.bulk(body=b"\n".join(lines).decode() + "\n", index=made.index)["errors"]
    client.indices.refresh(index=made.index)
