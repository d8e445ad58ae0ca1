"""The `alert` role."""

from __future__ import annotations

import os
from pathlib import Path

from streams.alert.courier import Sender
from streams.alert.desk import Desk
from streams.alert.load import load_plan
from streams.alert.plan import Plan
from streams.alert.role import AlertHandler, make_senders
from streams.alert.spool import Spool
from streams.alert.watch import RoutesWatch
from streams.role import Handler
from streams.roles import now_ms
from streams.settings import Settings
from streams.watch.health import Health
from streams.watch.metrics import AlertMetrics


def alert_handler(settings: Settings, health: Health) -> Handler:
    """The handler; raises FraudstreamError where the file of routes cannot be used."""
    file = Path(settings.alerts)

    def load() -> tuple[Plan, dict[str, Sender]]:
        plan = load_plan(file, os.environ)
        return plan, make_senders(plan, dry_run=settings.alerts_dry_run)

    plan, senders = load()
    metrics = AlertMetrics(health.registry, list(plan.channels))
    return AlertHandler(
        plan,
        senders,
        Desk(Spool(Path(settings.alerts_dir), plan), health.outages["spool"]),
        now_ms,
        metrics=metrics,
        startup_wait_s=settings.startup_wait_s,
        watch=RoutesWatch(file, load, now_ms, metrics),
    )
