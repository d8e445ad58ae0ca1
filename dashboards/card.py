"""The Card drill-down: what one card did, as the model saw it."""

from __future__ import annotations

from typing import Final

from dashboards.parts import (
    COUNT,
    Control,
    Controls,
    Dashboard,
    Metric,
    MetricKind,
    Panel,
    Row,
    Search,
    over_time,
    rate,
    top,
)


def _charted(kind: MetricKind, name: str, label: str) -> Metric:
    return Metric(kind, f"charted.{name}", label)


DECISIONS: Final = Search(
    "decisions",
    "Decisions",
    (
        "card_id", "transaction_id", "amount", "currency", "merchant_id", "merchant_category", "country",
        "fraud.outcome", "fraud.score", "fraud.rule", "fraud.reasons.code", "label.label",
    ),
    "event_time",
)  # fmt: skip

CARD: Final = Dashboard(
    "card",
    "Card drill-down",
    "One card: its history and the features that it was scored with",
    (
        Row(
            6,
            (
                Controls(
                    "card-controls",
                    "Choose a card",
                    (
                        Control("card_id", "Card"),
                        Control("merchant_id", "Merchant"),
                        Control("fraud.score", "Score", "range"),
                    ),
                ),
            ),
        ),
        Row(
            8,
            (
                Panel("card-transactions", "Transactions", "metric", (COUNT,), width=12),
                Panel(
                    "card-amount", "Amount", "metric", (Metric("sum", "amount", "amount"),),
                    (top("currency", "currency", place="group"),), width=18,
                ),
                Panel(
                    "card-score", "Highest score", "metric", (Metric("max", "fraud.score", "score"),), width=18
                ),
            ),
        ),
        Row(
            14,
            (
                Panel(
                    "card-outcomes", "Transactions over time, by outcome", "histogram", (COUNT,),
                    (over_time(), top("fraud.outcome", "outcome", place="group")),
                ),
                Panel(
                    "card-scores", "Score over time", "line", (Metric("max", "fraud.score", "highest score"),),
                    (over_time(),),
                ),
            ),
        ),
        Row(
            14,
            (
                Panel(
                    "card-velocity", "Transactions in the windows", "line",
                    (
                        _charted("max", "num_trans_last_10m", "last 10 min"),
                        _charted("max", "num_trans_last_1w", "last week"),
                    ),
                    (over_time(),),
                ),
                Panel(
                    "card-averages", "Average amount in the windows", "line",
                    (
                        _charted("max", "avg_amt_last_10m", "last 10 min"),
                        _charted("max", "avg_amt_last_1w", "last week"),
                        Metric("max", "amount", "this one"),
                    ),
                    (over_time(),),
                ),
            ),
        ),
        Row(
            14,
            (
                Panel(
                    "card-ratios", "Ratios", "line",
                    (
                        _charted("max", "amt_ratio1", "10 min to week"),
                        _charted("max", "amt_ratio2", "this amount to week"),
                        _charted("max", "count_ratio", "10 min of the week's count"),
                    ),
                    (over_time(),),
                ),
                Panel(
                    "card-gap", "Seconds since the transaction before", "line",
                    (_charted("min", "secs_since_last", "shortest gap"),), (over_time(),),
                ),
            ),
        ),
        Row(
            16,
            (
                Panel(
                    "riskiest-cards", "Riskiest cards", "table",
                    (
                        Metric("max", "fraud.score", "highest score"),
                        COUNT,
                        Metric("sum", "amount", "amount"),
                        Metric("cardinality", "merchant_id", "merchants"),
                    ),
                    # A card has one currency: its amounts may be added up.
                    (top("card_id", "card", 25),),
                ),
                Panel(
                    "card-merchants", "Merchants", "table",
                    (COUNT, Metric("sum", "amount", "amount"), rate("fraud.is_block", "block rate")),
                    (top("merchant_id", "merchant", 25), top("currency", "currency")),
                ),
            ),
        ),
        Row(24, (DECISIONS,)),
    ),
    since="now-7d",
)  # fmt: skip
