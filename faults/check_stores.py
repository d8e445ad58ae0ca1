"""Compare what Redis and OpenSearch hold with what was published and with the oracle; and verdicts with the models."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final

import numpy as np

from faults.check_outcomes import Answer
from faults.findings import Findings
from faults.oracle import Entry, Oracle
from faults.readback import Indexed, Stored
from features.catalogue import FEATURE_NAMES
from features.history import Histories, country_code, mcc_code, unpack
from scoring.decision import decide
from scoring.model import Model

_Kept = tuple[int, int, bool, bool, int, int, int]
_ADDED: Final = frozenset({"is_block", "is_review", "is_late", "is_degraded", "is_duplicate"})
_BESIDE: Final = frozenset({"indexed_at", "hour", "weekday", "charted", "review"})
_IN_ORDER: Final = itemgetter(*FEATURE_NAMES)
_OLDER: Final = timedelta(days=400)


def check_verdicts(answers: Iterable[Answer], models: Mapping[str, Model], findings: Findings) -> None:
    """The features of every answer give its probability, score and verdict again, bit for bit, under its model."""
    by_model: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.fraud.get("features") is not None:
            by_model[answer.fraud["model"]].append(answer)
    for version, group in by_model.items():
        if version not in models:
            findings.wrong("model that is not in use", version)
            continue
        model = models[version]
        rows = np.array([_IN_ORDER(answer.fraud["features"]) for answer in group], np.float64)
        probability = model.predict(rows)
        scores, verdicts = decide(probability, model.thresholds)
        for answer, *wanted in zip(group, probability.tolist(), scores.tolist(), verdicts, strict=True):
            fraud = answer.fraud
            if [fraud["probability"], fraud["score"], fraud["outcome"]] != wanted:
                findings.wrong("verdict", (fraud["source"], wanted, fraud["probability"]))
            if (fraud["outcome"] == "approve") != (fraud["reasons"] == []):
                findings.wrong("reasons", fraud["source"])


def check_applied(applied: Mapping[int, int], transactions: Sequence[Stored], findings: Findings) -> None:
    """Redis has applied every partition to its end."""
    ends: dict[int, int] = {}
    for record in transactions:
        ends[record.place[0]] = max(record.place[1], ends.get(record.place[0], -1))
    for partition, end in ends.items():
        if applied.get(partition) != end:
            findings.wrong("applied", f"partition {partition}: {applied.get(partition)} and not {end}")


def check_histories(
    histories: Mapping[tuple[int, str], bytes], oracle: Oracle, homes: Mapping[str, int], findings: Findings
) -> None:
    """Every card's packed history holds what counts, in order, and nothing that never counted.

    What lies further back than a week and the grace may be there still, since a history is trimmed when it is written.
    """
    entries = oracle.entries()
    wanted = {(homes[card], card) for card in entries}
    for place in histories.keys() - wanted:
        findings.wrong("history of nobody", place)
    for card, (ever, since_ms) in entries.items():
        packed = histories.get((homes[card], card))
        if packed is None:
            findings.lost("history", card)
            continue
        found = _unpacked(unpack([packed]))
        known = [_kept(entry) for entry in ever]
        if [one for one in found if one[0] >= since_ms] != [one for one in known if one[0] >= since_ms]:
            findings.wrong("history", (card, len(found), len(known)))
        elif not set(found) <= set(known):
            findings.wrong("history with more than ever happened", card)


def check_documents(
    documents: Sequence[Indexed], answers: Iterable[Answer], prefix: str, findings: Findings
) -> list[tuple[int, int]]:
    """Every answer's document exists, once, and says what was published last under its id.

    Returns:
        Of each right document when its last outcome was published and when it was indexed, epoch milliseconds.
    """
    last: dict[tuple[str, str], Answer] = {}
    for answer in sorted(answers, key=lambda one: one.stored.place):
        last[_index_of(answer, prefix), _id_of(answer.body)] = answer
    times = []
    seen = set()
    for document in documents:
        place = (document.index, document.id)
        wanted = last.get(place)
        if wanted is None or place in seen:
            findings.wrong("document that should not be there", place)
            continue
        seen.add(place)
        said = {name: value for name, value in document.source.items() if name not in _BESIDE}
        said["fraud"] = {name: value for name, value in said["fraud"].items() if name not in _ADDED}
        if said != wanted.body:
            findings.wrong("document", (place, wanted.body))
        times.append((wanted.stored.ts_ms, _ms(document.source["indexed_at"])))
    for place in last.keys() - seen:
        findings.lost("document", place)
    return times


def _kept(entry: Entry) -> _Kept:
    digest = hashlib.blake2b(entry.transaction_id.encode(), digest_size=8).digest()
    return (
        entry.time_ms, entry.amount_minor, entry.reversal, entry.clamped, int.from_bytes(digest, "little"),
        country_code(entry.country), 0 if entry.reversal else mcc_code(entry.mcc),
    )  # fmt: skip


def _unpacked(histories: Histories) -> list[_Kept]:
    entries = histories.entries
    columns = (
        entries.time_ms, entries.amount_minor, entries.reversal, entries.clamped & ~entries.reversal,
        entries.identity, entries.country, entries.mcc,
    )  # fmt: skip
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _index_of(answer: Answer, prefix: str) -> str:
    fraud = answer.fraud
    day = _time(answer.body["event_time"]) - timedelta(milliseconds=fraud.get("clock_skew_ms", 0))
    broker = _time(fraud["scored_at"]) - timedelta(milliseconds=fraud["latency_ms"])
    name = "older" if broker - day > _OLDER else f"{day:%Y.%m.%d}"
    return f"{prefix}processed_transactions-{name}"


def _id_of(body: Mapping[str, Any]) -> str:
    """The id of an outcome's document; no card of the traffic has a character that must be escaped."""
    return f"{body['card_id']}:{body['transaction_id']}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _ms(text: str) -> int:
    return round(_time(text).timestamp() * 1000)
