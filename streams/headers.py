"""The headers of a record, whoever wrote them."""

from __future__ import annotations

from operator import methodcaller
from typing import Final

from confluent_kafka import Message

from sinks.publisher import Headers

# For a name that is not UTF-8 confluent-kafka answers with an error and a list that has holes, both at once. Called
# from Python often enough, a method is called without a look at that (specialised instructions since 3.11), and the
# holes end the process; from C every answer is looked at, and this one is a SystemError.
_HEADERS: Final = methodcaller("headers")


def headers_of(message: Message) -> Headers | None:
    """A record's headers; None where a name is not UTF-8: they are not ours, and asked again there are none."""
    try:
        headers = _HEADERS(message)
    except SystemError:
        message.set_headers([])  # instead of the list with holes, which it would give without an error from now on
        return None
    return [(header[0], header[1]) for header in headers or ()]
