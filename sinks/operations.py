"""Samples of the operation in OpenSearch: what no outcome tells, for the Operations dashboard."""

from __future__ import annotations

import msgspec

from features.times import format_rfc3339
from sinks.documents import Document, day_of
from sinks.side_indices import OPERATIONS_ALIAS


def lag_document(*, at_ms: int, role: str, group: str, topic: str, lag: int, index_prefix: str) -> Document:
    """How many records a group has not acknowledged; several workers that sample the same moment write one document.

    Args:
        at_ms: the moment, epoch milliseconds.
        role: what the group does.
        group: the consumer group.
        topic: what it reads.
        lag: records.
        index_prefix: put before the index name.
    """
    fields = {"at": format_rfc3339(at_ms), "kind": "lag", "role": role, "group": group, "topic": topic, "lag": lag}
    return Document(_index(at_ms, index_prefix), f"lag:{group}:{at_ms}", msgspec.json.encode(fields))


def drift_document(*, at_ms: int, feature: str, psi: float, ks: float, model: str, index_prefix: str) -> Document:
    """How far a feature as served has moved from what the model was trained on.

    Args:
        at_ms: when it was measured, epoch milliseconds.
        feature: name of the catalogue, or `score`.
        psi: population stability index.
        ks: Kolmogorov-Smirnov distance.
        model: version of the model.
        index_prefix: put before the index name.
    """
    fields = {"at": format_rfc3339(at_ms), "kind": "drift", "feature": feature, "psi": psi, "ks": ks, "model": model}
    return Document(_index(at_ms, index_prefix), f"drift:{model}:{feature}:{at_ms}", msgspec.json.encode(fields))


def _index(at_ms: int, index_prefix: str) -> str:
    return f"{index_prefix}{OPERATIONS_ALIAS}-{day_of(at_ms)}"
