"""Signatures of webhooks, as https://www.standardwebhooks.com defines them, so that receivers have libraries for it."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from typing import Final

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"


def signed_headers(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The headers that prove a message: its id, the time of this attempt, one signature for each key.

    Args:
        keys: the present one first; several while a key is being changed.
        message_id: the same for every repeat.
        timestamp_s: epoch seconds.
        body: exactly as sent.
    """
    signatures = (signature(key, message_id, timestamp_s, body) for key in keys)
    return {ID: message_id, TIMESTAMP: str(timestamp_s), SIGNATURE: " ".join(signatures)}


def signature(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """HMAC-SHA-256 over id, timestamp and body.

    >>> signature(b"k" * 24, "al_1", 1700000000, b"{}")
    'v1,UkWuM3xJ7BSe7oVkRfrkiqzShO2iIbAXhSEk0FMsZ04='
    """
    digest = hmac.digest(key, b"%b.%d.%b" % (message_id.encode(), timestamp_s, body), "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"
