"""How an attempt to deliver may fail."""

from __future__ import annotations

from features.errors import FraudstreamError, ServerUnavailable


class ChannelAway(ServerUnavailable):
    """The channel did not take a message now; a later attempt may do. The text holds no secret."""


class MessageRefused(FraudstreamError):  # noqa: N818 - what happened, as the others say it
    """The channel refuses this very message: it would do so again."""


class SpoolAway(ServerUnavailable):
    """The folder of the alerts cannot be written now: a full disk, say."""
