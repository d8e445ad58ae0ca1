"""What the routes file says: channels, and which outcomes go to which of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from pydantic import SecretStr

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class QuietHours(msgspec.Struct, frozen=True):
    """A time of the day in which a channel stays silent.

    Attributes:
        begin_min: minutes since local midnight; the first quiet one.
        end_min: the first minute that is no longer quiet; where it is the smaller one, the night lies between them.
        zone: name of the time zone.
        urgent: outcomes that come through all the same.
    """

    begin_min: int
    end_min: int
    zone: str
    urgent: frozenset[str]

    def holds(self, now_ms: int) -> bool:
        """Whether it is quiet now (epoch milliseconds).

        >>> night = QuietHours(22 * 60, 7 * 60, "UTC", frozenset())
        >>> night.holds(23 * 3_600_000), night.holds(7 * 3_600_000)
        (True, False)
        """
        local = (_EPOCH + timedelta(milliseconds=now_ms)).astimezone(ZoneInfo(self.zone))
        minute = local.hour * 60 + local.minute
        if self.begin_min < self.end_min:
            return self.begin_min <= minute < self.end_min
        return minute >= self.begin_min or minute < self.end_min


class Throttle(msgspec.Struct, frozen=True):
    """At most so many alerts in any span of this length."""

    most: int
    within_ms: int


class Channel(msgspec.Struct, frozen=True):
    """One way to reach somebody.

    Attributes:
        name: for routes, logs and metrics.
        kind: `apprise`, or our own signed `webhook`.
        url: where it leads; a secret, for most hold a token.
        keys: of a webhook's signature, the present one first.
        timeout_s: how long one attempt may take; of Apprise, one exchange with the service.
        digest_ms: alerts of so much time go out as one message; 0: each by itself.
        quiet: when it stays silent; None: never.
        give_up_ms: age at which a message that cannot be delivered becomes a dead letter.
    """

    name: str
    kind: Literal["apprise", "webhook"]
    url: SecretStr
    keys: tuple[SecretStr, ...]
    timeout_s: float
    digest_ms: int
    quiet: QuietHours | None
    give_up_ms: int

    def is_quiet(self, now_ms: int) -> bool:
        """Whether only what is urgent may go out now."""
        return self.quiet is not None and self.quiet.holds(now_ms)

    def is_urgent(self, outcome: str) -> bool:
        """Whether quiet hours do not hold this outcome back."""
        return self.quiet is None or outcome in self.quiet.urgent


class Route(msgspec.Struct, frozen=True):
    """Which outcomes go to which channels; an empty set lets everything through.

    Attributes:
        name: for messages and metrics.
        outcomes: verdicts.
        rules: ids of deciding rules.
        currencies: of the transaction.
        min_score: least score; one without a score (a reversal) passes 0 alone.
        min_amount: least amount, in units of its currency.
        channels: names.
        per_card: how many alerts of one card.
        per_rule: how many alerts of one deciding rule.
    """

    name: str
    outcomes: frozenset[str]
    rules: frozenset[str]
    currencies: frozenset[str]
    min_score: int
    min_amount: Decimal
    channels: tuple[str, ...]
    per_card: Throttle | None
    per_rule: Throttle | None


class Plan(msgspec.Struct, frozen=True):
    """The whole file.

    Attributes:
        channels: by name.
        routes: in order; of several that lead an outcome to one channel, the first counts.
        skip_older_ms: outcomes of this age are not told any more; 0: whatever their age.
        remember_ms: how long it is known what was told.
        most_waiting: alerts that may wait for one channel; more become dead letters.
    """

    channels: Mapping[str, Channel]
    routes: tuple[Route, ...]
    skip_older_ms: int
    remember_ms: int
    most_waiting: int

    @property
    def outcomes(self) -> frozenset[str]:
        """Verdicts that some route asks for."""
        return frozenset().union(*(route.outcomes for route in self.routes))

    @property
    def longest_throttle_ms(self) -> int:
        """The longest span that a throttle looks back."""
        throttles = [t for route in self.routes for t in (route.per_card, route.per_rule) if t is not None]
        return max((throttle.within_ms for throttle in throttles), default=0)

    def secrets(self) -> list[str]:
        """Everything in it that must be seen by nobody."""
        return [text.get_secret_value() for channel in self.channels.values() for text in (channel.url, *channel.keys)]
