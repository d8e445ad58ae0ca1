"""A channel of our own: signed JSON by HTTP POST."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import IO, Final
from urllib.request import Request

from pydantic import SecretStr

from streams.alert.errors import ChannelAway, MessageRefused
from streams.alert.message import Message, payload
from streams.alert.signing import signed_headers
from streams.alert.values import key_bytes

# What is wrong with the message itself; everything else may be mended at the other end.
_REFUSALS: Final = {400, 413, 415, 422}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A signed message goes where it is addressed to and nowhere else."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> None:
        del req, fp, code, msg, headers, newurl


class WebhookChannel:
    """Posts messages and expects 2xx; reads nothing of the answer but its status.

    Attributes:
        deadline_s: how long an attempt may take in all.
    """

    def __init__(self, url: SecretStr, keys: Sequence[SecretStr], timeout_s: float) -> None:
        self.deadline_s = timeout_s
        self._url, self._keys = url, [key_bytes(key.get_secret_value()) for key in keys]
        self._opener = urllib.request.build_opener(_NoRedirect)

    def send(self, message: Message, now_ms: int) -> None:
        """Send one.

        Raises:
            ChannelAway: no answer, or one that may be another the next time.
            MessageRefused: the receiver says that the message is wrong.
        """
        body = payload(message)
        headers = signed_headers(self._keys, message.id, now_ms // 1000, body)
        headers |= {"content-type": "application/json", "user-agent": "fraudstream"}
        request = Request(self._url.get_secret_value(), body, headers, method="POST")  # noqa: S310 - http(s), see load
        try:
            with self._opener.open(request, timeout=self.deadline_s):
                return
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code in _REFUSALS:
                raise MessageRefused(f"the receiver answers {exc.code}") from None
            raise ChannelAway(f"the receiver answers {exc.code}") from None
        except (OSError, http.client.HTTPException) as exc:
            raise ChannelAway(_problem(exc)) from None


def _problem(error: Exception) -> str:
    """What went wrong, without the address: paths and queries hold tokens."""
    cause = getattr(error, "reason", error)
    said = getattr(cause, "strerror", None) if isinstance(cause, OSError) else None
    return f"no answer: {said or type(cause).__name__}"
