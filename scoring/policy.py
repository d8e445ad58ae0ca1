"""What decides a batch: a model, rules and a challenger, one version of each from the first row to the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from features.catalogue import FEATURE_NAMES
from features.transaction import Transaction
from scoring.decision import Verdict, decide
from scoring.manifest import Thresholds
from scoring.model import Matrix, Model
from scoring.outcome import Shadow
from scoring.reasons import RuleReason
from scoring.rules.columns import Scored, batch_columns
from scoring.rules.lists import Entries
from scoring.rules.ruleset import Decided, RuleSet

NO_RULES: Final = "none"

_AMOUNT: Final = FEATURE_NAMES.index("amount")
_HASH_BYTES: Final = 8


class Policy(msgspec.Struct, frozen=True):
    """Versions that decide together; another version of any of them is another policy.

    Attributes:
        model: the champion.
        rules: overrule the model; None: the model decides alone.
        challenger: another model, which scores beside the champion.
        shadow_share: share of the transactions that it scores without effect, 0 to 1.
        canary_share: share of the cards that it decides, 0 to 1; the champion then scores beside it.
    """

    model: Model
    rules: RuleSet | None = None
    challenger: Model | None = None
    shadow_share: float = 0.0
    canary_share: float = 0.0

    @property
    def ruleset(self) -> str:
        """Version of the rules."""
        return NO_RULES if self.rules is None else self.rules.version

    def thresholds(self, model: Model) -> Thresholds:
        """Those that hold for a model's probabilities: the rule set's, or else the model's own."""
        own = None if self.rules is None else self.rules.thresholds
        return model.thresholds if own is None else own


class Batch(msgspec.Struct, frozen=True):
    """The n authorizations of a batch.

    Attributes:
        transactions: as decoded.
        x: features, shape (n, features), in the order of the catalogue.
        amount_minor: amounts that stand, shape (n,).
        event_ms: event times that stand, shape (n,).
    """

    transactions: Sequence[Transaction]
    x: Matrix
    amount_minor: NDArray[np.int64]
    event_ms: NDArray[np.int64]

    def rows(self, chosen: NDArray[np.intp]) -> Batch:
        """Some of them."""
        transactions = [self.transactions[row] for row in chosen.tolist()]
        return Batch(transactions, self.x[chosen], self.amount_minor[chosen], self.event_ms[chosen])


class Said(msgspec.Struct, frozen=True):
    """What a model says of n authorizations: probability and score of shape (n,), and n verdicts."""

    probability: NDArray[np.float32]
    score: NDArray[np.int64]
    verdicts: list[Verdict]


class Judged(msgspec.Struct, frozen=True):
    """What is decided about n authorizations.

    Attributes:
        said: by the model that decides each of them.
        outcomes: what counts, length n.
        rules: that decided; None where there are none.
        decided: by them.
        canary: rows that the challenger decides, shape (n,), or None where it decides none.
        shadows: what was found without effect, by row.
    """

    said: Said
    outcomes: list[Verdict]
    rules: RuleSet | None
    decided: Decided | None
    canary: NDArray[np.bool_] | None
    shadows: Mapping[int, Shadow]

    def rule_ids(self) -> list[str | None]:
        """Of each row the rule that decides it."""
        return [None] * len(self.outcomes) if self.decided is None else self.decided.rule_ids()

    def told(self, row: int) -> RuleReason | None:
        """The reason of the rule that decides a row."""
        if self.decided is None or self.rules is None or self.decided.deciding[row] < 0:
            return None
        return self.rules.told[self.decided.rules[self.decided.deciding[row]].id]


def unnoted(_stage: str) -> None:
    """Nobody wants to know how long it takes."""


def judge(policy: Policy, batch: Batch, members: Mapping[str, Entries], lap: Callable[[str], None] = unnoted) -> Judged:
    """Decide a batch.

    Args:
        policy: what is in force for all of it.
        batch: at least one authorization.
        members: entries of the lists in Redis, as far as they are known.
        lap: told "model" and "rules" when they have spoken.
    """
    said = _says(policy, policy.model, batch)
    canary: NDArray[np.bool_] | None = None
    shadows: dict[int, Shadow] = {}
    if policy.challenger is not None:
        said, canary, shadows = _beside(policy, policy.challenger, batch, said)
    lap("model")
    if policy.rules is None:
        lap("rules")
        return Judged(said, said.verdicts, None, None, canary, shadows)
    scored = Scored(
        np.asarray(batch.x, np.float64), said.probability, said.score, said.verdicts, batch.amount_minor, batch.event_ms
    )
    columns = batch_columns(policy.rules.columns, batch.transactions, scored)
    decided = policy.rules.decide(columns, len(batch.transactions), members)
    for row, names in decided.shadow_matched().items():
        shadows[row] = msgspec.structs.replace(shadows.get(row, Shadow()), rules=names)
    judged = Judged(said, decided.outcomes(said.verdicts), policy.rules, decided, canary, shadows)
    lap("rules")
    return judged


def _says(policy: Policy, model: Model, batch: Batch) -> Said:
    limits = policy.thresholds(model)
    probability = model.predict(batch.x)
    if limits.costs is None:
        return Said(probability, *decide(probability, limits))
    currency = [t.currency for t in batch.transactions] if limits.costs.rates else None
    return Said(probability, *decide(probability, limits, np.asarray(batch.x[:, _AMOUNT], np.float64), currency))


def _beside(
    policy: Policy, challenger: Model, batch: Batch, champion: Said
) -> tuple[Said, NDArray[np.bool_] | None, dict[int, Shadow]]:
    """What counts once a challenger is asked too: what is said, the rows that it decides, and the shadows."""
    canary = np.array([is_chosen("canary", t.card_id, policy.canary_share) for t in batch.transactions], np.bool_)
    sampled = [is_chosen("shadow", t.transaction_id, policy.shadow_share) for t in batch.transactions]
    rows = np.flatnonzero(canary | np.array(sampled, np.bool_))
    if not len(rows):
        return champion, None, {}
    its = _says(policy, challenger, batch.rows(rows))
    probability, score, verdicts = champion.probability.copy(), champion.score.copy(), list(champion.verdicts)
    shadows = {}
    for place, row in enumerate(rows.tolist()):
        if not canary[row]:
            shadows[row] = _shadow(challenger, its, place)
            continue
        shadows[row] = _shadow(policy.model, champion, row)
        probability[row], score[row], verdicts[row] = its.probability[place], its.score[place], its.verdicts[place]
    return Said(probability, score, verdicts), canary if canary.any() else None, shadows


def _shadow(model: Model, said: Said, row: int) -> Shadow:
    return Shadow(
        model=model.version,
        score=int(said.score[row]),
        probability=float(said.probability[row]),
        outcome=said.verdicts[row],
        rules=UNSET,
    )


def is_chosen(purpose: str, name: str, share: float) -> bool:
    """Whether a name is in a share of all names: always the same ones, and those of a smaller share among them.

    >>> [is_chosen("canary", "card-1", share) for share in (0.0, 1.0)]
    [False, True]
    >>> 400 < sum(is_chosen("canary", f"card-{i}", 0.5) for i in range(1000)) < 600
    True
    """
    if share <= 0:
        return False
    digest = blake2b(name.encode(), digest_size=_HASH_BYTES, person=purpose.encode()).digest()
    return int.from_bytes(digest, "little") < share * 256**_HASH_BYTES
