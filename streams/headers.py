"""The headers of a record, whoever wrote them."""

from __future__ import annotations

from confluent_kafka import Message

from sinks.publisher import Headers


def headers_of(message: Message) -> Headers | None:
    """A record's headers; None where a name is not UTF-8: confluent-kafka cannot give them, and they are not ours.

    Asked again for such headers, which it has freed, confluent-kafka ends the process; so they are gone then.
    """
    try:
        return [(header[0], header[1]) for header in message.headers() or ()]
    except SystemError:
        message.set_headers([])
        return None
