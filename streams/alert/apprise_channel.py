"""A channel through Apprise: mail, chat, pagers and a hundred other services by URL."""

from __future__ import annotations

import logging
import re
from typing import Any, Final

import apprise
from pydantic import SecretStr

from streams.alert.errors import ChannelAway
from streams.alert.message import Message
from streams.alert.text import body_of, severity_of, title_of

_TYPES: Final = {
    "block": apprise.NotifyType.FAILURE,
    "review": apprise.NotifyType.WARNING,
    "approve": apprise.NotifyType.INFO,
}
_CODE: Final = re.compile(r"\berror[ =:]{1,3}([1-5][0-9]{2})\b")
# Some services take several exchanges, and Apprise pauses between calls to be polite.
_EXCHANGES: Final = 3
_PAUSE_S: Final = 6.0

# Its lines quote addresses and, at debug, whole URLs with their tokens; what matters of them is in our own.
logging.getLogger("apprise").propagate = False


def apprise_service(url: str, timeout_s: float) -> apprise.NotifyBase:
    """The service of a URL; raises ValueError, which does not quote it, where Apprise knows none."""
    asset = apprise.AppriseAsset(
        async_mode=False, http_redirects=False, storage_mode="memory", app_id="fraudstream", app_url=""
    )
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        raise ValueError("Apprise knows no such URL, or a part of it is missing")
    service.socket_connect_timeout = service.socket_read_timeout = timeout_s
    return service


class AppriseChannel:
    """Sends messages as text for people.

    Apprise tells no more than whether it went well, so every failure counts as an outage and is tried again.

    Attributes:
        deadline_s: how long an attempt may take in all.
    """

    def __init__(self, url: SecretStr, timeout_s: float) -> None:
        self.deadline_s = _EXCHANGES * timeout_s + _PAUSE_S
        self._sender = apprise.Apprise()
        self._sender.add(apprise_service(url.get_secret_value(), timeout_s))

    def send(self, message: Message, now_ms: int) -> None:
        """Send one; raises ChannelAway where Apprise says that it did not go well."""
        del now_ms
        said: list[str] = []

        def heard(entry: Any, _service: object) -> None:  # noqa: ANN401 - Apprise's own entry
            said.append(str(getattr(entry, "message", "")))

        went_well = self._sender.notify(
            body=body_of(message),
            title=title_of(message),
            notify_type=_TYPES[severity_of(message)],
            body_format=apprise.NotifyFormat.TEXT,
            log_callback=heard,
        )
        if not went_well:
            codes = [match[1] for text in said for match in [_CODE.search(text)] if match]
            raise ChannelAway(f"the service answers {codes[-1]}" if codes else "Apprise could not deliver the message")
