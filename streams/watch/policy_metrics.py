"""What a worker tells Prometheus of the versions that it decides by."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from features.catalogue import FEATURE_SET
from scoring.policy import Policy
from streams.watch.metrics import BuildInfo

PARTS: Final = ("model", "rules", "challenger")


class PolicyMetrics:
    """Versions in force, changes and refusals; a role that decides nothing has none.

    Args:
        registry: where they are collected.
        role: of the process.
    """

    def __init__(self, registry: CollectorRegistry, role: str) -> None:
        self._info, self._role = BuildInfo(registry), role
        refused = Gauge(
            "fraud_policy_refused", "1 while the newest version of a part cannot be used", ["part"], registry=registry
        )
        changes = Counter("fraud_policy_changes", "other versions put in force", ["part"], registry=registry)
        self._refused = {part: refused.labels(part) for part in PARTS}
        self._changes = {part: changes.labels(part) for part in PARTS}
        self._stale = Gauge("fraud_lists_stale", "1 while lists in Redis cannot be read anew", registry=registry)

    def in_force(self, policy: Policy) -> None:
        """Tell the versions."""
        self._info.set(
            role=self._role,
            version=version("fraudstream"),
            model=policy.model.version,
            ruleset=policy.ruleset,
            feature_set=FEATURE_SET,
        )

    def refused(self, part: str, *, refused: bool) -> None:
        """The newest version of a part cannot be used, or can."""
        self._refused[part].set(refused)

    def changed(self, part: str) -> None:
        """Another version of a part is in force."""
        self._changes[part].inc()

    def lists_stale(self, *, stale: bool) -> None:
        """Lists in Redis cannot be read anew, or were."""
        self._stale.set(stale)
