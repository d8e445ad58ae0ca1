"""Compare all that a row left behind with the oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from faults.check_outcomes import (
    Answer,
    Asked,
    Excused,
    check_letters,
    check_outcomes,
    check_strays,
    read_topic_of,
    unflagged_copies,
)
from faults.check_stores import check_applied, check_documents, check_histories, check_verdicts
from faults.events import Planned
from faults.findings import Findings
from faults.readback import Left
from scoring.model import Model


class Verified(msgspec.Struct, frozen=True):
    """The outcome of a comparison.

    Attributes:
        findings: what does not agree.
        asked: what the topic asked for.
        answers: of each record, in the order in which they were published.
        indexed: of each right document when its outcome was published and when it was indexed, epoch milliseconds.
        unflagged: producers' copies of which no answer says so.
    """

    findings: Findings
    asked: Asked
    answers: list[list[Answer]]
    indexed: list[tuple[int, int]]
    unflagged: int


def verify(
    plan: Sequence[Planned],
    left: Left,
    topic: str,
    prefix: str,
    models: Mapping[str, Model],
    excused: Excused,
) -> Verified:
    """Compare everything.

    Args:
        plan: what was sent.
        left: what was read back.
        topic: full name of the transactions.
        prefix: of indices.
        models: by version, those that may have decided.
        excused: what outcomes may say of being degraded.
    """
    findings = Findings()
    asked = read_topic_of(plan, left.transactions, findings)
    check_strays(asked, findings)
    answers = check_outcomes(asked, left.outcomes, findings, excused)
    check_letters(asked, left.letters, topic, findings)
    everything = [answer for group in answers for answer in group]
    check_verdicts(everything, models, findings)
    check_applied(left.applied, left.transactions, findings)
    homes = {planned.event.card: planned.home for planned in plan if planned.event is not None}
    check_histories(left.histories, asked.oracle, homes, findings)
    indexed = check_documents(left.documents, everything, prefix, findings)
    return Verified(findings, asked, answers, indexed, unflagged_copies(asked, answers))
