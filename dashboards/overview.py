"""The Overview: what comes in, what is held back, and where."""

from __future__ import annotations

from typing import Final

from dashboards.parts import (
    COUNT,
    Bucket,
    Control,
    Controls,
    Dashboard,
    Metric,
    Panel,
    Row,
    over_time,
    rate,
    top,
)

_BLOCKED: Final = "fraud.outcome:block"
_BLOCK_RATE: Final = rate("fraud.is_block", "block rate")
_REVIEW_RATE: Final = rate("fraud.is_review", "review rate")
# Amounts of different currencies never stand in one sum.
_CURRENCY: Final = top("currency", "currency", place="group")
_AMOUNT: Final = Metric("sum", "amount", "amount")

OVERVIEW: Final = Dashboard(
    "overview",
    "Fraud overview",
    "Transactions, outcomes and the value behind them",
    (
        Row(
            6,
            (
                Controls(
                    "overview-controls",
                    "Choose",
                    (
                        Control("card_id", "Card"),
                        Control("country", "Country"),
                        Control("merchant_category", "MCC"),
                        Control("fraud.score", "Score", "range"),
                    ),
                ),
            ),
        ),
        Row(
            8,
            (
                Panel("transactions", "Transactions", "metric", (COUNT,), width=8),
                Panel("blocked", "Blocked", "metric", (COUNT,), query=_BLOCKED, width=8),
                Panel("rates", "Block and review rate", "metric", (_BLOCK_RATE, _REVIEW_RATE), width=12),
                Panel(
                    "latency-blocked", "Mean time to a block (ms)", "metric",
                    (Metric("avg", "fraud.latency_ms", "ms, blocked"),), query=_BLOCKED, width=10,
                ),
                Panel(
                    "latency-all", "Mean time to a decision (ms)", "metric",
                    (Metric("avg", "fraud.latency_ms", "ms, all"),), width=10,
                ),
            ),
        ),
        Row(
            8,
            (
                Panel("amount", "Amount", "metric", (_AMOUNT,), (_CURRENCY,), width=16),
                Panel("amount-blocked", "Value blocked", "metric", (_AMOUNT,), (_CURRENCY,), _BLOCKED, width=16),
                Panel(
                    "at-risk", "Value at risk in open reviews", "metric",
                    (Metric("sum", "review.expected_loss", "expected loss"),), (_CURRENCY,),
                    "review.state:(open OR escalated)", width=16,
                ),
            ),
        ),
        Row(
            14,
            (
                Panel(
                    "outcomes-time", "Outcomes over time", "histogram", (COUNT,),
                    (over_time(), top("fraud.outcome", "outcome", place="group")), width=32,
                ),
                Panel("outcomes", "Outcomes", "pie", (COUNT,), (top("fraud.outcome", "outcome"),), width=16),
            ),
        ),
        Row(
            14,
            (
                Panel(
                    "rates-time", "Block and review rate over time", "line", (_BLOCK_RATE, _REVIEW_RATE), (over_time(),)
                ),
                Panel("amount-time", "Amount over time, by currency", "line", (_AMOUNT,), (over_time(), _CURRENCY)),
            ),
        ),
        Row(
            14,
            (
                Panel(
                    "score", "Scores", "histogram", (COUNT,),
                    (
                        Bucket("histogram", "fraud.score", "score", "segment", interval=50),
                        top("fraud.outcome", "outcome", place="group"),
                    ),
                ),
                Panel(
                    "blocked-currency", "Blocked, by currency", "histogram", (COUNT,),
                    (top("currency", "currency", place="segment"),), _BLOCKED,
                ),
            ),
        ),
        Row(
            16,
            (
                Panel(
                    "rules", "Rules that decided", "table", (COUNT, _BLOCK_RATE, _AMOUNT),
                    (top("fraud.rule", "rule", 20), top("currency", "currency")), "_exists_:fraud.rule",
                ),
                Panel(
                    "reasons", "Reasons of reviews and blocks", "horizontal_bar", (COUNT,),
                    (top("fraud.reasons.code", "reason", 15),),
                ),
            ),
        ),
        Row(
            16,
            (
                Panel(
                    "country", "Blocked, by country", "horizontal_bar", (COUNT,),
                    (top("country", "country"),), _BLOCKED, width=16,
                ),
                Panel(
                    "mcc", "By merchant category", "table", (COUNT, _BLOCK_RATE, _REVIEW_RATE),
                    (top("merchant_category", "MCC", 20),), width=16,
                ),
                Panel(
                    "channel", "By channel and outcome", "histogram", (COUNT,),
                    (top("channel", "channel", place="segment"), top("fraud.outcome", "outcome", place="group")),
                    width=16,
                ),
            ),
        ),
        Row(
            18,
            (
                Panel(
                    "mcc-country", "Block rate, MCC by country", "heatmap", (_BLOCK_RATE,),
                    (top("country", "country", 15), top("merchant_category", "MCC", 15, place="group")),
                ),
                Panel(
                    "hour-weekday", "Transactions, hour by weekday (UTC)", "heatmap", (COUNT,),
                    (top("hour", "hour", 24, by_key=True), top("weekday", "weekday", 7, by_key=True, place="group")),
                ),
            ),
        ),
    ),
)  # fmt: skip
