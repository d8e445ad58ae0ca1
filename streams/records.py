"""From what was decided to the records that carry the outcomes.

An outcome as an object costs several times what all of its deciding does, so where the native piece was built
(`streams/_outcome.c`) records are written straight from the columns. Where it was not they go by way of the objects,
which say what is right: the bytes are the same.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Protocol, cast

import msgspec
import numpy as np
from msgspec import UNSET

from features.catalogue import FEATURE_NAMES, FEATURE_SET
from features.native import built
from scoring.decision import Verdict
from scoring.outcome import SCORE_HEADERS, VERDICT_HEADERS, Fraud, Outcome, encode_outcome, outcome_headers
from sinks.publisher import Record
from streams.decided import UNUSUAL, WHOLE, At, Decided
from streams.intake import Incoming

_JSON: Final = msgspec.json.Encoder()
_Members: Final = msgspec.defstruct(
    "_Members", [(name, Any, UNSET) for name in Fraud.__struct_fields__ if name in UNUSUAL], gc=False
)

# What the native piece asks for, as it asks for it.
_ATTRIBUTES: Final = (
    "transaction", "broker_ms", "partition", "offset", "exponent", "transaction_id", "card_id", "type", "currency",
    "card_last4", "merchant_id", "merchant_category", "country", "channel", "device_id", "ip_address", "email",
)  # fmt: skip
_NAMES: Final = tuple((",{"[place == 0] + f'"{name}":').encode() for place, name in enumerate(FEATURE_NAMES))
_WHOLE: Final = bytes(WHOLE)
_LEAST_POWER: Final = -292
_MOST_POWER: Final = 324
_LOG2_10: Final = 1_741_647  # times 2^19, exact for these powers
_LOG2_10_BITS: Final = 19


class NativeOutcome(Protocol):
    """`streams/_outcome.c`."""

    def records(
        self,
        items: list[Incoming],
        verdicts: list[Verdict],
        rules: list[str | None],
        reasons: dict[int, bytes],
        unusual: dict[int, bytes],
        columns: tuple[Any, ...],
        common: tuple[Any, ...],
        /,
    ) -> list[Record]:
        """The record of every row.

        Args:
            items: the records, length n.
            verdicts: of each.
            rules: that decide each.
            reasons: JSON of the rows that have any.
            unusual: members of the decision beyond those that all have, as they stand in its JSON, with a comma before
                each, of the rows that have any.
            columns: `Decided` as arrays of length n, in the order of the enumeration in the C file.
            common: what all of them share, in the order of the other one.
        """
        ...


NATIVE: Final = cast("NativeOutcome | None", built("streams._outcome"))


def records_of(decided: Decided, topic: str, native: NativeOutcome | None) -> list[Record]:
    """The records of authorizations."""
    if native is None:
        return [record_of(topic, outcome) for outcome in decided.outcomes()]
    said = decided.said
    columns = (decided.amount_minor, decided.event_ms, decided.x, said.probability, said.score, decided.canary)
    return native.records(
        list(decided.items),
        decided.verdicts,
        decided.rules,
        {row: _JSON.encode(given) for row, given in decided.reasons.items()},
        _members(decided),
        tuple(map(np.ascontiguousarray, columns)),
        _common(decided.at, topic),
    )


def _members(decided: Decided) -> dict[int, bytes]:
    """What each row says beyond what every outcome says, as members that follow others."""
    degraded = decided.at.degraded
    said = decided.unusual
    if degraded is not UNSET:
        said = {row: {**said.get(row, {}), "degraded": degraded} for row in range(len(decided.items))}
    found = {row: _JSON.encode(_Members(**more))[1:-1] for row, more in said.items()}
    return {row: b"," + members for row, members in found.items() if members}


def record_of(topic: str, outcome: Outcome) -> Record:
    """The record of an outcome."""
    return Record(
        topic,
        outcome.card_id.encode(),
        encode_outcome(outcome),
        outcome_headers(outcome),
        outcome.fraud.source.partition,
    )


def _common(at: At, topic: str) -> tuple[Any, ...]:
    """The last argument of the native piece: texts as they stand in the JSON, and what it makes records of."""
    return (
        _ATTRIBUTES, topic, _NAMES, _WHOLE, _versions(at, at.model), _versions(at, at.challenger),
        b',"source":{"topic":' + _JSON.encode(at.source) + b',"partition":', at.now_ms, _powers_of_ten(),
        VERDICT_HEADERS, SCORE_HEADERS, Record,
    )  # fmt: skip


def _versions(at: At, model: str) -> bytes:
    """What stands between the features and the latency."""
    versions = {"model": model, "ruleset": at.ruleset, "feature_set": FEATURE_SET, "scored_at": at.text}
    return b"}," + _JSON.encode(versions)[1:-1] + b',"latency_ms":'


@cache
def _powers_of_ten() -> bytes:
    """The powers of ten that the native piece asks for, as 128 bits each, rounded up: the table of Schubfach."""
    powers = []
    for power in range(_LEAST_POWER, _MOST_POWER + 1):
        shift = 127 - (power * _LOG2_10 >> _LOG2_10_BITS)
        above, below = (10**power, 1) if power >= 0 else (1, 10**-power)
        above, below = (above << shift, below) if shift >= 0 else (above, below << -shift)
        powers.append((-(-above // below)).to_bytes(16, "little"))
    return b"".join(powers)
