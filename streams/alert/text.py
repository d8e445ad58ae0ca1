"""Messages as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from msgspec import UNSET

from scoring.decision import VERDICTS
from streams.alert.message import Alert, Message

_LISTED: Final = 20
# What a chat would read as a mention, a link or markup; merchants choose their own ids.
_PLAIN: Final = str.maketrans({"<": "‹", ">": "›", "@": "＠", "`": "'", "*": "·", "[": "(", "]": ")"})  # noqa: RUF001


def severity_of(message: Message) -> str:
    """The most severe verdict in it."""
    found = {alert.outcome for alert in message.alerts}
    return next((verdict for verdict in ("block", "review") if verdict in found), "approve")


def title_of(message: Message) -> str:
    """One line."""
    if len(message.alerts) == 1:
        return _plain(_headline(message.alerts[0]))
    counts = Counter(alert.outcome for alert in message.alerts)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in reversed(VERDICTS) if counts[verdict])
    return f"{len(message.alerts)} fraud alerts: {said}"


def body_of(message: Message) -> str:
    """What happened, and the id by which a repeat is known."""
    if len(message.alerts) == 1:
        lines = [_plain(line) for line in _details(message.alerts[0])]
    else:
        ranked = sorted(message.alerts, key=lambda alert: -(alert.score or 0))
        lines = [_plain(_headline(alert)) for alert in ranked[:_LISTED]]
        if (more := len(ranked) - _LISTED) > 0:
            lines.append(f"and {more} more with lower scores")
    return "\n".join([*lines, f"id: {message.id}"])


def _headline(alert: Alert) -> str:
    score = "" if alert.score is None else f" (score {alert.score})"
    last4 = "" if alert.card_last4 is UNSET else f" ending {alert.card_last4}"
    return f"{alert.outcome.upper()}{score}: {_amount(alert)} on card {alert.card_id[:20]}{last4}"


def _details(alert: Alert) -> Iterator[str]:
    yield f"transaction {alert.transaction_id} at {alert.event_time}"
    yield f"card {alert.card_id}"
    where = [text for text in (alert.merchant_id, alert.merchant_category, alert.country, alert.channel) if text]
    if where:
        yield f"merchant {', '.join(where)}"
    if alert.rule is not None:
        yield f"decided by rule {alert.rule}"
    for reason in alert.reasons:
        yield f"- {reason}"
    if alert.degraded is not UNSET:
        yield f"scored without everything that should be known: {alert.degraded}"
    if alert.held_back:
        yield f"{alert.held_back} more like this were kept back by the throttle"
    yield f"outcome {alert.record}, route {alert.route}"


def _amount(alert: Alert) -> str:
    return f"{bytes(alert.amount).decode()} {alert.currency}"


def _plain(text: str) -> str:
    """One line that says nothing to a chat but what it says to people."""
    return "".join(char if char.isprintable() else " " for char in text.translate(_PLAIN))
