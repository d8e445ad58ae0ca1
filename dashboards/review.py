"""Review: how long cases wait, how often a flag was right, and how much of the fraud was caught."""

from __future__ import annotations

from typing import Final

from dashboards.parts import (
    COUNT,
    Bucket,
    Dashboard,
    Metric,
    Panel,
    Row,
    Search,
    Text,
    over_time,
    rate,
    top,
)

_OPEN: Final = "review.state:open"
_TOLD: Final = "_exists_:is_fraud"
_PRECISION: Final = rate("is_fraud", "precision")
_EXPECTED: Final = Metric("sum", "review.expected_loss", "expected loss")
_AGES: Final = (
    ("now-1h", "now"),
    ("now-4h", "now-1h"),
    ("now-1d", "now-4h"),
    ("now-7d", "now-1d"),
    (None, "now-7d"),
)
_DELAYS: Final = ((0, 24), (24, 72), (72, 168), (168, 720), (720, None))

_ABOUT: Final = """A case is opened by the outcome `review`. The answers *fraud* and *valid* close it, *undecided*
escalates it.

**Precision** is the share of the labelled transactions that were fraud. **Caught** is the share of the fraud that had
been reviewed or blocked. Cases older than the time range above are not counted: widen it to see them."""

OPEN_REVIEWS: Final = Search(
    "open-reviews",
    "Open reviews, the newest first",
    (
        "card_id", "transaction_id", "review.expected_loss", "currency", "amount", "fraud.score", "fraud.rule",
        "fraud.reasons.code", "review.state", "review.opened_at",
    ),
    "event_time",
    "review.state:(open OR escalated)",
)  # fmt: skip

REVIEW: Final = Dashboard(
    "review",
    "Review",
    "The queue, and what came of the flags",
    (
        Row(6, (Text("review-about", "About this page", _ABOUT),)),
        Row(
            8,
            (
                Panel("open", "Open cases", "metric", (COUNT,), (), _OPEN, width=10),
                Panel("escalated", "Escalated", "metric", (COUNT,), (), "review.state:escalated", width=10),
                Panel(
                    "open-loss", "Expected loss in open cases", "metric", (_EXPECTED,),
                    (top("currency", "currency", place="group"),), _OPEN, width=18,
                ),
                Panel("unknown", "Labels without a transaction", "metric", (COUNT,), (), "known:0", "labels", 10),
            ),
        ),
        Row(
            14,
            (
                Panel(
                    "queue-age", "Age of open cases", "table", (COUNT, _EXPECTED),
                    (Bucket("date_range", "review.opened_at", "opened", ranges=_AGES), top("currency", "currency")),
                    _OPEN,
                ),
                Panel(
                    "answers", "Answers over time", "histogram", (COUNT,),
                    (over_time("labelled_at"), top("label", "answer", place="group")), "", "given",
                ),
            ),
        ),
        Row(
            14,
            (
                Panel(
                    "precision-rule", "Precision of what was labelled, by rule", "table",
                    (COUNT, _PRECISION), (top("rule", "rule", 25),), f"{_TOLD} AND _exists_:rule", "labels", 16,
                ),
                Panel(
                    "precision-outcome", "By outcome", "table", (COUNT, _PRECISION),
                    (top("outcome", "outcome"),), _TOLD, "labels", 16,
                ),
                Panel(
                    "precision-model", "By model", "table", (COUNT, _PRECISION),
                    (top("model", "model"),), _TOLD, "labels", 16,
                ),
            ),
        ),
        Row(
            14,
            (
                Panel(
                    "value-detection", "Value of fraud and how much was caught, by age of the label (hours)", "table",
                    (
                        Metric("sum", "amount", "fraud"),
                        Metric("sum", "amount_caught", "caught"),
                        rate("is_caught", "caught, by count"),
                    ),
                    (Bucket("range", "delay_hours", "hours", ranges=_DELAYS), top("currency", "currency")),
                    "label:fraud", "labels",
                ),
                Panel(
                    "detection", "Share of fraud by outcome and age of the label (hours)", "histogram", (COUNT,),
                    (
                        Bucket("range", "delay_hours", "hours", "segment", ranges=_DELAYS),
                        top("outcome", "outcome", place="group"),
                    ),
                    "label:fraud", "labels", shares=True,
                ),
            ),
        ),
        Row(
            14,
            (
                Panel(
                    "analysts", "Answers by analyst", "table", (COUNT,),
                    (top("analyst", "analyst", 25), top("label", "answer")), "source:analyst", "given", 16,
                ),
                Panel(
                    "answers-outcome", "Answers by outcome", "histogram", (COUNT,),
                    (top("outcome", "outcome", place="segment"), top("label", "answer", place="group")),
                    "", "labels", 32,
                ),
            ),
        ),
        Row(24, (OPEN_REVIEWS,)),
    ),
    since="now-90d",
)  # fmt: skip
