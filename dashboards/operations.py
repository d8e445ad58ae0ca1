"""Operations: how fast, how far behind, what was refused, which versions, and whether data still look as they did."""

from __future__ import annotations

from typing import Final

from dashboards.parts import (
    COUNT,
    Dashboard,
    Metric,
    Panel,
    Row,
    over_time,
    rate,
    top,
)

_BLOCK_RATE: Final = rate("fraud.is_block", "block rate")
_REVIEW_RATE: Final = rate("fraud.is_review", "review rate")
_SCORES: Final = Metric("percentiles", "fraud.score", "score", (50, 99))
_LAG: Final = "kind:lag"
_DRIFT: Final = "kind:drift"

OPERATIONS: Final = Dashboard(
    "operations",
    "Operations and models",
    "Latency, lag, dead letters, versions side by side, drift",
    (
        Row(
            14,
            (
                Panel(
                    "latency", "Latency: broker to decision (ms)", "line",
                    (Metric("percentiles", "fraud.latency_ms", "ms", (50, 95, 99)),), (over_time(),),
                ),
                Panel(
                    "lag", "Consumer lag, records by group", "line", (Metric("max", "lag", "records"),),
                    (over_time("at"), top("role", "group", place="group")), _LAG, "operations",
                ),
            ),
        ),
        Row(
            14,
            (
                Panel(
                    "shares", "Late, duplicate and degraded share", "line",
                    (
                        rate("fraud.is_late", "late"),
                        rate("fraud.is_duplicate", "duplicate"),
                        rate("fraud.is_degraded", "degraded"),
                    ),
                    (over_time(),),
                ),
                Panel("throughput", "Outcomes over time", "histogram", (COUNT,), (over_time(),)),
            ),
        ),
        Row(
            14,
            (
                Panel(
                    "dead-letters", "Dead letters over time, by reason", "histogram", (COUNT,),
                    (over_time("at"), top("reason", "reason", 15, place="group")), "", "letters",
                ),
                Panel(
                    "dead-letters-table", "Dead letters by topic and reason", "table", (COUNT,),
                    (top("source.topic", "topic"), top("reason", "reason", 15)), "", "letters", 16,
                ),
                Panel(
                    "degraded", "Degraded, by reason", "table", (COUNT,),
                    (top("fraud.degraded", "reason"),), "_exists_:fraud.degraded", width=8,
                ),
            ),
        ),
        Row(
            12,
            (
                Panel(
                    "models", "Models side by side", "table", (COUNT, _BLOCK_RATE, _REVIEW_RATE, _SCORES),
                    (top("fraud.model", "model"),),
                ),
                Panel(
                    "rulesets", "Rule sets side by side", "table", (COUNT, _BLOCK_RATE, _REVIEW_RATE),
                    (top("fraud.ruleset", "rule set"),),
                ),
            ),
        ),
        Row(
            12,
            (
                Panel(
                    "shadow", "Decided, and what the other model would have said", "table",
                    (COUNT, Metric("avg", "fraud.shadow.probability", "mean probability")),
                    (
                        top("fraud.shadow.model", "other model"),
                        top("fraud.outcome", "decided"),
                        top("fraud.shadow.outcome", "other outcome"),
                    ),
                    "_exists_:fraud.shadow.model",
                ),
                Panel(
                    "shadow-rules", "Shadow rules that matched", "table", (COUNT, _BLOCK_RATE),
                    (top("fraud.shadow.rules", "rule", 20),), "_exists_:fraud.shadow.rules",
                ),
            ),
        ),
        Row(
            14,
            (
                Panel(
                    "drift", "Drift of served features from the training data (PSI)", "line",
                    (Metric("max", "psi", "PSI"),),
                    (over_time("at"), top("feature", "feature", 8, place="group")), _DRIFT, "operations",
                ),
                Panel(
                    "drift-table", "Drift by model and feature", "table",
                    (Metric("max", "psi", "PSI"), Metric("max", "ks", "KS")),
                    (top("model", "model", 5), top("feature", "feature", 30)), _DRIFT, "operations",
                ),
            ),
        ),
    ),
)  # fmt: skip
