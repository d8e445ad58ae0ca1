"""Whether a new model is due, by the rules of the plan."""

from __future__ import annotations

from typing import Final

import msgspec

from lifecycle.drift import Drift
from lifecycle.plan import Retraining

_DAY_MS: Final = 86_400_000


class Facts(msgspec.Struct, frozen=True):
    """What the rules look at.

    Attributes:
        registered_ms: when the champion was registered; None where there is none.
        drift: what was found of live traffic; None where nothing could be said.
        labels: labels of transactions that the champion has not learned from.
        now_ms: the moment, epoch milliseconds.
    """

    registered_ms: int | None
    drift: Drift | None
    labels: int
    now_ms: int


def reasons(rules: Retraining, facts: Facts) -> list[str]:
    """Why a new model is due: one sentence for each rule that says so; none where it is not."""
    if facts.registered_ms is None:
        return ["there is no champion in the registry"]
    found = []
    age_days = (facts.now_ms - facts.registered_ms) / _DAY_MS
    if rules.every_days and age_days >= rules.every_days:
        found.append(f"the champion is {age_days:.0f} days old, a new one is due every {rules.every_days:g}")
    alarms = () if facts.drift is None else facts.drift.alarms
    if rules.alarms and len(alarms) >= rules.alarms:
        about = ", ".join(sorted({f"{alarm.subject} ({alarm.kind})" for alarm in alarms}))
        found.append(f"{len(alarms)} alarms of drift: {about}")
    if rules.labels and facts.labels >= rules.labels:
        found.append(f"{facts.labels:,} labels that the champion has not learned from, {rules.labels:,} are enough")
    return found
