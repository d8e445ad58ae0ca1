"""OpenSearch as tests see it: an index that was made a moment ago is waited for."""

from __future__ import annotations

from typing import Any

from opensearchpy import Transport, TransportError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

_AGAIN_S = 0.05
_PATIENCE_S = 30.0


def _is_not_there_yet(error: BaseException) -> bool:
    """Between the making of an index and the start of its shard, a search of it is refused."""
    return (
        isinstance(error, TransportError)
        and error.status_code == 503
        and error.error == "search_phase_execution_exception"
    )


class PatientTransport(Transport):
    """Asks again while the shards that are asked are being started."""

    def perform_request(self, *arguments: Any, **options: Any) -> Any:
        again = Retrying(
            retry=retry_if_exception(_is_not_there_yet),
            wait=wait_fixed(_AGAIN_S),
            stop=stop_after_delay(_PATIENCE_S),
            reraise=True,
        )
        return again(super().perform_request, *arguments, **options)
