"""Compare answers with what the contract says of every record: lost, repeated, wrong."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from faults.oracle import Expected
from faults.readback import Place, Stored
from features.catalogue import FEATURE_NAMES
from scoring.model import Matrix

Features = dict[str, int | float]

_TOLERANCE: Final = 1e-9
"""Relative: peers add up amounts in whole minor units too, but divide in another order."""
COMPARED: Final = tuple(name for name in FEATURE_NAMES if name != "prev_amt")
"""Which of two transactions of one millisecond came last is more than a sorted set can know, and the traffic of the
comparison has more such pairs than life: that feature is left out, or it would be most of what is wrong."""


class Answer(msgspec.Struct, frozen=True):
    """What an answer says; None of a reversal."""

    features: Features | None
    probability: float | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        records: in the topic.
        judged: answers that were compared: the contract promises nothing beyond the grace, and a reversal has no
            windows.
        wrong: of these, those with a wrong feature.
        wrong_of: the same by kind of record: ordinary, late, copy.
        judged_of: answers compared, by kind.
        lost: records without an answer.
        repeated: answers beyond the first.
        contradicted: records whose answers differ in their features.
    """

    records: int
    judged: int
    wrong: int
    wrong_of: dict[str, int]
    judged_of: dict[str, int]
    lost: int
    repeated: int
    contradicted: int

    @property
    def wrong_share(self) -> float:
        """Share of wrong answers."""
        return self.wrong / self.judged if self.judged else 0.0


def answers_of(outcomes: Iterable[Stored]) -> dict[Place, list[Answer]]:
    """Answers by the place of the record that each is of, in the order in which they were published."""
    found: dict[Place, list[Answer]] = defaultdict(list)
    for stored in outcomes:
        fraud: dict[str, Any] = msgspec.json.decode(stored.value or b"{}")["fraud"]
        source = fraud["source"]
        place = source["partition"], source["offset"]
        found[place].append(Answer(fraud.get("features"), fraud.get("probability")))
    return dict(found)


def judge(expected: Mapping[Place, Expected], answers: Mapping[Place, list[Answer]]) -> Verdict:
    """Compare every answer, repeats included."""
    judged_of: Counter[str] = Counter()
    wrong_of: Counter[str] = Counter()
    contradicted = 0
    for place, said in expected.items():
        given = answers.get(place, [])
        contradicted += any(not same(given[0].features, again.features) for again in given[1:])
        if said.features is None or said.inexact or said.beyond_grace:
            continue
        kind = kind_of(said)
        judged_of[kind] += len(given)
        wrong_of[kind] += sum(not same(said.features, answer.features) for answer in given)
    return Verdict(
        records=len(expected), judged=judged_of.total(), wrong=wrong_of.total(), wrong_of=dict(wrong_of),
        judged_of=dict(judged_of), lost=len(expected.keys() - answers.keys()),
        repeated=sum(len(given) - 1 for given in answers.values()), contradicted=contradicted,
    )  # fmt: skip


def kind_of(said: Expected) -> str:
    """What is awkward about a record."""
    if said.duplicate:
        return "copy"
    return "ordinary" if said.late_by_ms is None else "late"


def same(one: Features | None, other: Features | None) -> bool:
    """Whether two answers say the same of every feature that is compared."""
    if one is None or other is None:
        return one is other
    return all(
        name in one and name in other and math.isclose(one[name], other[name], rel_tol=_TOLERANCE) for name in COMPARED
    )


def misscored(predict: Callable[[Matrix], NDArray[np.float32]], answers: Mapping[Place, list[Answer]]) -> int:
    """Answers whose probability is not the model's of the features that they show."""
    scored = [answer for given in answers.values() for answer in given if answer.features is not None]
    rows = [[answer.features[name] for name in FEATURE_NAMES] for answer in scored if answer.features is not None]
    said = np.array([-1.0 if answer.probability is None else answer.probability for answer in scored], np.float32)
    return int((predict(np.array(rows, np.float64)) != said).sum()) if rows else 0
