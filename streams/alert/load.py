"""The routes file becomes a plan, or one error that tells everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from features.errors import ConfigError
from scoring.decision import VERDICTS
from scoring.rules.fields import NAME, Fields, Problems
from scoring.rules.source import Item, SourceError, read_yaml
from streams.alert.apprise_channel import apprise_service
from streams.alert.plan import Channel, Plan, QuietHours, Route, Throttle
from streams.alert.values import amount, key_bytes, minute_of_day, resolved, span_ms, throttle, zone

T = TypeVar("T")

MAX_CHANNELS: Final = 20
MAX_ROUTES: Final = 100

_TOP: Final = ("channels", "routes", "skip_older_than", "remember", "most_waiting")
_CHANNEL: Final = ("url", "webhook", "secret", "secret_old", "timeout", "digest", "quiet_hours", "give_up_after")
_QUIET: Final = ("from", "to", "zone", "urgent")
_ROUTE: Final = (
    "name", "outcomes", "rules", "currencies", "min_score", "min_amount", "channels", "per_card", "per_rule",
)  # fmt: skip
_DAY_MS: Final = 86_400_000


def load_plan(path: Path, environ: Mapping[str, str]) -> Plan:
    """Load a routes file.

    Args:
        path: the file.
        environ: where `${NAME}` is looked up.

    Raises:
        ConfigError: it cannot be used; one line for each problem, with file and line, and never with a secret.
    """
    problems = Problems()
    try:
        plan = _Loader(problems, environ).plan(read_yaml(path))
    except SourceError as exc:
        raise ConfigError(f"FRAUD_ALERTS cannot be used: {exc}") from None
    if problems:
        raise ConfigError(f"FRAUD_ALERTS cannot be used:\n{problems}")
    return plan


class _Loader:
    def __init__(self, problems: Problems, environ: Mapping[str, str]) -> None:
        self._problems, self._environ = problems, environ

    def plan(self, item: Item) -> Plan:
        top = Fields(item, _TOP, self._problems)
        channels = self._channels(top)
        routes = tuple(self._routes(top, channels))
        plan = Plan(
            channels,
            routes,
            skip_older_ms=self._read(top, "skip_older_than", span_ms, _DAY_MS),
            remember_ms=self._read(top, "remember", span_ms, 3 * _DAY_MS),
            most_waiting=top.whole("most_waiting", 100_000, 1, 10_000_000),
        )
        if plan.remember_ms < max(plan.skip_older_ms, plan.longest_throttle_ms):
            top.wrong("remember", "must be at least as long as skip_older_than and every throttle")
        for name in channels.keys() - {name for route in routes for name in route.channels}:
            top.wrong("channels", f"no route leads to {name}")
        return plan

    def _channels(self, top: Fields) -> dict[str, Channel]:
        item = top.item("channels")
        if item is None or not isinstance(item.value, Mapping) or not item.value:
            top.wrong("channels", "channels by name are expected")
            return {}
        if len(item.value) > MAX_CHANNELS:
            top.wrong("channels", f"there are more than {MAX_CHANNELS}")
        for name, one in item.value.items():
            if not NAME.fullmatch(name):
                self._problems.add(
                    one.place, "a channel's name has 1 to 64 letters, digits, and _ . - behind the first"
                )
        return {name: self._channel(name, one) for name, one in item.value.items()}

    def _channel(self, name: str, item: Item) -> Channel:
        fields = Fields(item, _CHANNEL, self._problems, rule="")
        is_webhook = fields.item("webhook") is not None
        if is_webhook == (fields.item("url") is not None):
            fields.wrong(None, "a channel needs either url (of Apprise) or webhook")
        timeout_s = self._read(fields, "timeout", span_ms, 10_000) / 1000
        if not 1 <= timeout_s <= 120:
            fields.wrong("timeout", "must be from 1s to 120s")
        return Channel(
            name=name,
            kind="webhook" if is_webhook else "apprise",
            url=self._webhook_url(fields) if is_webhook else self._apprise_url(fields, timeout_s),
            keys=self._keys(fields, is_webhook=is_webhook),
            timeout_s=timeout_s,
            digest_ms=self._read(fields, "digest", span_ms, 0),
            quiet=self._quiet(fields),
            give_up_ms=self._read(fields, "give_up_after", span_ms, _DAY_MS),
        )

    def _webhook_url(self, fields: Fields) -> SecretStr:
        def read(text: str) -> str:
            url = resolved(text, self._environ)
            try:
                parts = urlsplit(url)
                usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
            except ValueError:
                usable = False
            if not usable or not url.isascii() or any(char <= " " for char in url):
                raise ValueError("must be a URL http(s)://host[:port]/path")
            if parts.username is not None or parts.fragment:
                raise ValueError("must hold neither a user nor a fragment; the signature is the proof of who sends")
            return url

        return SecretStr(self._read(fields, "webhook", read, ""))

    def _apprise_url(self, fields: Fields, timeout_s: float) -> SecretStr:
        def read(text: str) -> str:
            url = resolved(text, self._environ)
            apprise_service(url, timeout_s)
            return url

        return SecretStr(self._read(fields, "url", read, ""))

    def _keys(self, fields: Fields, *, is_webhook: bool) -> tuple[SecretStr, ...]:
        def read(text: str) -> str:
            found = resolved(text, self._environ)
            key_bytes(found)
            return found

        present = [name for name in ("secret", "secret_old") if fields.item(name) is not None]
        if is_webhook and "secret" not in present:
            fields.wrong(None, "a webhook needs a secret to sign with")
        if present and not is_webhook:
            fields.wrong(present[0], "only a webhook is signed")
        return tuple(SecretStr(self._read(fields, name, read, "")) for name in present)

    def _quiet(self, fields: Fields) -> QuietHours | None:
        item = fields.item("quiet_hours")
        if item is None:
            return None
        quiet = Fields(item, _QUIET, self._problems)
        for name in ("from", "to"):
            if quiet.item(name) is None:
                quiet.wrong(None, f"{name} is missing")
        begin, end = (self._read(quiet, name, minute_of_day, -1) for name in ("from", "to"))
        if begin == end >= 0:
            quiet.wrong("to", "must differ from the beginning")
        return QuietHours(begin, end, self._read(quiet, "zone", zone, "UTC"), self._outcomes(quiet, "urgent", ()))

    def _routes(self, top: Fields, channels: Mapping[str, Channel]) -> list[Route]:
        item = top.item("routes")
        if item is None or not isinstance(item.value, Sequence) or isinstance(item.value, str) or not item.value:
            top.wrong("routes", "a list of routes is expected")
            return []
        if len(item.value) > MAX_ROUTES:
            top.wrong("routes", f"there are more than {MAX_ROUTES}")
        routes = [self._route(one, channels) for one in item.value]
        names = [route.name for route in routes]
        for name in sorted({name for name in names if names.count(name) > 1}):
            top.wrong("routes", f"there are two of the name {name}")
        return routes

    def _route(self, item: Item, channels: Mapping[str, Channel]) -> Route:
        fields = Fields(item, _ROUTE, self._problems)
        leads = fields.texts("channels")
        if not leads:
            fields.wrong(None, "a route needs channels")
        for name in leads:
            if name not in channels:
                fields.wrong("channels", f"there is no channel {name}")
        return Route(
            name=fields.name("name"),
            outcomes=self._outcomes(fields, "outcomes", ("review", "block")),
            rules=frozenset(fields.texts("rules")),
            currencies=frozenset(fields.texts("currencies")),
            min_score=fields.whole("min_score", 0, 0, 1000),
            min_amount=self._read(fields, "min_amount", amount, Decimal(0)),
            channels=tuple(dict.fromkeys(leads)),
            per_card=self._throttle(fields, "per_card"),
            per_rule=self._throttle(fields, "per_rule"),
        )

    def _throttle(self, fields: Fields, name: str) -> Throttle | None:
        return self._read(fields, name, throttle, None)

    def _outcomes(self, fields: Fields, name: str, default: Sequence[str]) -> frozenset[str]:
        found = fields.texts(name) or tuple(default)
        for outcome in found:
            if outcome not in VERDICTS:
                fields.wrong(name, f"must hold {', '.join(VERDICTS)} alone")
        return frozenset(found)

    def _read(self, fields: Fields, name: str, read: Callable[[str], T], default: T) -> T:
        """A text as what it stands for; what `read` says of it never quotes it."""
        if fields.item(name) is None:
            return default
        if not (text := fields.text(name, longest=4_096)):
            return default
        try:
            return read(text)
        except ValueError as exc:
            fields.wrong(name, str(exc))
            return default
