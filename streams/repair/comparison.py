"""Compare an outcome that was published with the same one computed again."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

Body = dict[str, Any]
"""An outcome as decoded JSON."""

# They say when and how the record came, not what was found out about it.
_TIMING: Final = ("scored_at", "latency_ms", "duplicate")
# Of a challenger, which may be another by now, or none.
_BESIDE: Final = ("shadow",)
_VERSIONS: Final = ("model", "ruleset", "feature_set")
# What follows from features and versions together.
_BY_RULES: Final = ("outcome", "rule", "reasons")
_DECIDED: Final = ("score", "probability", *_BY_RULES)
DEADLINE: Final = "deadline"
# Two foldings of a hot card, each within 1 % of the exact weekly features.
_HOT_TOLERANCE: Final = 0.02


class Difference(msgspec.Struct, frozen=True):
    """A field that was published otherwise than it comes out now; values are shown of what was decided alone."""

    field: str
    published: str
    computed: str


def versions(body: Body) -> tuple[str, ...]:
    """Model, rule set and feature set of an outcome."""
    return tuple(str(body["fraud"].get(name)) for name in _VERSIONS)


def differences(published: Body, computed: Body, *, lists_asked: bool = False) -> list[Difference]:
    """Every lasting field that differs.

    Args:
        published: an outcome.
        computed: the same one again; what is decided is compared only where it is of the same versions.
        lists_asked: whether rules ask lists in Redis: what was in them then is not known, nor what rules made of it.
    """
    left_out = (*_TIMING, *_BESIDE, *(_BY_RULES if lists_asked else ()))
    if versions(published) != versions(computed):
        left_out = (*left_out, *_VERSIONS, *_DECIDED)
    one, other = _flat(published, left_out), _flat(computed, left_out)
    return [
        Difference(name, _shown(name, one.get(name)), _shown(name, other.get(name)))
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]


def is_within_folding(found: list[Difference], published: Body, computed: Body) -> bool:
    """Whether differences of a hot card are no more than two ways of folding its history may make."""
    decided = {f"fraud.{name}" for name in (*_DECIDED, "beyond_grace")}
    one, other = _flat(published, (*_TIMING, *_BESIDE)), _flat(computed, (*_TIMING, *_BESIDE))
    for difference in found:
        name = difference.field
        if name in decided:
            continue
        if not name.startswith("fraud.features."):
            return False
        if abs(one[name] - other[name]) > _HOT_TOLERANCE * max(abs(one[name]), abs(other[name])):
            return False
    return True


def lasting_digest(body: Body) -> int:
    """64 bits of what must be the same whenever a record is answered again under the same versions; never 0."""
    text = msgspec.json.encode(_flat(body, (*_TIMING, *_BESIDE)), order="sorted")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little") | 1


def _flat(body: Body, left_out: tuple[str, ...]) -> Body:
    """The outcome's fields by dotted names."""
    fraud: Mapping[str, Any] = body["fraud"]
    flat = {name: value for name, value in body.items() if name != "fraud"}
    flat |= {f"fraud.{name}": value for name, value in fraud.items() if name not in left_out and name != "features"}
    flat |= {f"fraud.features.{name}": value for name, value in (fraud.get("features") or {}).items()}
    if flat.get("fraud.degraded") == DEADLINE:
        del flat["fraud.degraded"]  # exact, but slow
    return flat


def _shown(name: str, value: object) -> str:
    if value is None:
        return "absent"
    return msgspec.json.encode(value).decode() if name.startswith("fraud.") else "another value"
