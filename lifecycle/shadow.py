"""Champion and challenger on the same transactions: where they agree, what flips, and which one is right more often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.errors import HistoryError
from features.money import EXPONENTS
from features.times import format_rfc3339
from lifecycle.stats import Interval, average_precision, bootstrap_difference, delong, mcnemar, midranks
from lifecycle.traffic import Traffic
from scoring.dataset import attack_positions
from scoring.decision import VERDICTS

_POSITIONS: Final = 4


class Flips(msgspec.Struct, frozen=True):
    """Transactions that one model flags (reviews or blocks) and the other does not, of one currency.

    Attributes:
        currency: of the amounts.
        caught_more: transactions that the challenger alone flags.
        caught_more_amount: their amounts together, major units.
        let_through: transactions that the champion alone flags.
        let_through_amount: their amounts together, major units.
        fraud_more: of the former, how many are known to be fraud.
        fraud_less: of the latter, likewise.
    """

    currency: str
    caught_more: int
    caught_more_amount: float
    let_through: int
    let_through_amount: float
    fraud_more: int
    fraud_less: int


class Side(msgspec.Struct, frozen=True):
    """One model on the transactions whose answer is known.

    Attributes:
        model: version.
        average_precision: of its probabilities.
        recall: share of the frauds that it flags.
        recall_by_position: of the 1st, 2nd ... transactions of an attack; None where there is none.
        recall_by_value: share of the fraudulent value that it flags, all currencies by their minor units.
        flagged_ordinary: share of the ordinary transactions that it flags.
    """

    model: str
    average_precision: float
    recall: float
    recall_by_position: tuple[float | None, ...]
    recall_by_value: float
    flagged_ordinary: float


class Judgement(msgspec.Struct, frozen=True):
    """Both models where the answer is known.

    Attributes:
        rows: transactions.
        frauds: among them.
        champion: the one in force.
        challenger: the other.
        average_precision: challenger minus champion, by a bootstrap over cards.
        roc_auc: likewise, by DeLong.
        frauds_only_champion: frauds that it alone flags.
        frauds_only_challenger: likewise.
        p_frauds: McNemar's test of these two.
        ordinary_only_champion: ordinary transactions that it alone flags.
        ordinary_only_challenger: likewise.
        p_ordinary: McNemar's test of these two.
    """

    rows: int
    frauds: int
    champion: Side
    challenger: Side
    average_precision: Interval
    roc_auc: Interval
    frauds_only_champion: int
    frauds_only_challenger: int
    p_frauds: float
    ordinary_only_champion: int
    ordinary_only_challenger: int
    p_ordinary: float


class Comparison(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        champion: version.
        challenger: version.
        first: event time of the first transaction, RFC 3339.
        last: of the last.
        rows: transactions that both answered.
        seen: transactions in all: the others were not sampled, or answered by other models.
        agreement: share with the same verdict.
        verdicts: how often the champion's verdict (row) met the challenger's (column), 3 x 3.
        rank_correlation: of the probabilities (Spearman).
        flips: by currency.
        judgement: where the answer is known; None where nothing, or one kind alone, is known.
        remarks: why there is no judgement, and what was left out.
    """

    champion: str
    challenger: str
    first: str
    last: str
    rows: int
    seen: int
    agreement: float
    verdicts: tuple[tuple[int, ...], ...]
    rank_correlation: float
    flips: tuple[Flips, ...]
    judgement: Judgement | None
    remarks: tuple[str, ...]


class Pair(msgspec.Struct, frozen=True):
    """Rows that both answered: probabilities and verdicts of the champion, then of the challenger; shape (n,) each."""

    rows: NDArray[np.intp]
    probability: tuple[NDArray[np.float64], NDArray[np.float64]]
    verdict: tuple[NDArray[np.int64], NDArray[np.int64]]


def compare(traffic: Traffic, known: NDArray[np.int64], champion: str, challenger: str, *, seed: int) -> Comparison:
    """Compare two models on what both answered.

    Args:
        traffic: n transactions.
        known: 1 fraud, 0 ordinary, -1 not known, shape (n,).
        champion: version of the model in force.
        challenger: version of the other.
        seed: of the bootstrap.

    Raises:
        HistoryError: no transaction was answered by both.
    """
    pair = _pair(traffic, champion, challenger)
    rows = pair.rows
    if not len(rows):
        asked = sorted({*traffic.model, *traffic.shadow_model} - {""})
        raise HistoryError(
            f"of {len(traffic):,} outcomes none was answered by both {champion} and {challenger} (there are "
            f"{', '.join(asked) or 'none'}); set FRAUD_CHALLENGER and FRAUD_SHADOW_SHARE, or name others"
        )
    answer = known[rows]
    table = np.zeros((len(VERDICTS), len(VERDICTS)), np.int64)
    np.add.at(table, pair.verdict, 1)
    remarks = [f"{number:,} records left out: {why}" for why, number in sorted(traffic.left_out.items())]
    judgement = None
    if not (answer == 1).any() or not (answer == 0).any():
        remarks.append(
            f"{np.count_nonzero(answer == 1):,} frauds and {np.count_nonzero(answer == 0):,} ordinary transactions are "
            "known: performance needs both; wait until labels have come, or lower the days that they take"
        )
    else:
        judgement = _judge(traffic, pair, answer, (champion, challenger), seed)
    return Comparison(
        champion=champion,
        challenger=challenger,
        first=format_rfc3339(int(traffic.event_ms[rows[0]])),
        last=format_rfc3339(int(traffic.event_ms[rows[-1]])),
        rows=len(rows),
        seen=len(traffic),
        agreement=float(np.mean(pair.verdict[0] == pair.verdict[1])),
        verdicts=tuple(tuple(line) for line in table.tolist()),
        rank_correlation=_spearman(*pair.probability),
        flips=tuple(_flips(traffic, pair, answer)),
        judgement=judgement,
        remarks=tuple(remarks),
    )


def _pair(traffic: Traffic, champion: str, challenger: str) -> Pair:
    """On a canary's cards the challenger decides and the champion is the shadow."""
    decided, beside = np.array(traffic.model, str), np.array(traffic.shadow_model, str)
    straight = (decided == champion) & (beside == challenger)
    turned = (decided == challenger) & (beside == champion)
    rows = np.flatnonzero(straight | turned)
    swap = turned[rows]
    said = (traffic.probability[rows], traffic.shadow_probability[rows])
    verdicts = (traffic.verdict[rows], traffic.shadow_verdict[rows])
    return Pair(
        rows,
        (np.where(swap, said[1], said[0]), np.where(swap, said[0], said[1])),
        (np.where(swap, verdicts[1], verdicts[0]), np.where(swap, verdicts[0], verdicts[1])),
    )


def _judge(traffic: Traffic, pair: Pair, answer: NDArray[np.int64], names: tuple[str, str], seed: int) -> Judgement:
    rows = answer >= 0
    fraud = answer[rows] == 1
    first, second = (probability[rows] for probability in pair.probability)
    flags = [verdict[rows] > 0 for verdict in pair.verdict]
    chosen = pair.rows[rows]
    card = _numbered([traffic.keys[row][0] for row in chosen.tolist()])
    position = attack_positions(traffic.event_ms[chosen], card, fraud)
    amount = traffic.amount_minor[chosen].astype(np.float64)
    sides = [
        Side(name, average_precision(fraud, said), float(flag[fraud].mean()), _by_position(flag, position),
             float(amount[fraud & flag].sum() / amount[fraud].sum()), float(flag[~fraud].mean()))
        for name, said, flag in zip(names, (first, second), flags, strict=True)
    ]  # fmt: skip
    lost, won = int(np.sum(fraud & flags[0] & ~flags[1])), int(np.sum(fraud & ~flags[0] & flags[1]))
    spared, bothered = int(np.sum(~fraud & flags[0] & ~flags[1])), int(np.sum(~fraud & ~flags[0] & flags[1]))
    return Judgement(
        rows=len(fraud),
        frauds=int(np.count_nonzero(fraud)),
        champion=sides[0],
        challenger=sides[1],
        average_precision=bootstrap_difference(fraud, first, second, card, seed=seed),
        roc_auc=delong(fraud, first, second),
        frauds_only_champion=lost,
        frauds_only_challenger=won,
        p_frauds=mcnemar(lost, won),
        ordinary_only_champion=spared,
        ordinary_only_challenger=bothered,
        p_ordinary=mcnemar(spared, bothered),
    )


def _by_position(flag: NDArray[np.bool_], position: NDArray[np.int64]) -> tuple[float | None, ...]:
    places = [position == place for place in range(1, _POSITIONS + 1)]
    return tuple(float(flag[here].mean()) if here.any() else None for here in places)


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def _flips(traffic: Traffic, pair: Pair, answer: NDArray[np.int64]) -> list[Flips]:
    more = (pair.verdict[0] == 0) & (pair.verdict[1] > 0)
    less = (pair.verdict[0] > 0) & (pair.verdict[1] == 0)
    currency = np.array([traffic.currency[row] for row in pair.rows.tolist()], str)
    amount = traffic.amount_minor[pair.rows]
    found = []
    for code in np.unique(currency[more | less]).tolist():
        here, unit = currency == code, 10 ** EXPONENTS.get(code, 0)
        up, down = more & here, less & here
        found.append(
            Flips(
                code,
                int(np.count_nonzero(up)),
                int(amount[up].sum()) / unit,
                int(np.count_nonzero(down)),
                int(amount[down].sum()) / unit,
                int(np.count_nonzero(up & (answer == 1))),
                int(np.count_nonzero(down & (answer == 1))),
            )
        )
    return found


def _spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    one, two = (ranks - ranks.mean() for ranks in (midranks(first), midranks(second)))
    spread = float(np.sqrt((one * one).sum() * (two * two).sum()))
    return float((one * two).sum()) / spread if spread else 1.0
