"""Bulk writing into OpenSearch: every document ends stored or refused by name, none in between."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from opensearchpy import ConnectionError as NoConnection
from opensearchpy import OpenSearch, TransportError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_before_delay,
    stop_never,
    wait_random_exponential,
)

from features.errors import IndexingError, ServerUnavailable
from features.outage import Outage
from sinks.documents import Document
from sinks.opensearch import credentials_refused, error_of, mapped_errors

MAX_DOCUMENTS = 1000
MAX_BYTES = 5 * 1024 * 1024
MAX_WAIT_S = 15.0
# While OpenSearch works at one request, the next is made and sent: two keep it busy, more would only queue there.
_AT_ONCE = 2
_FIRST_WAIT_S = 0.2
_REPLACED = 200  # a document that is new is answered with 201

# Status 400 too, but said of the cluster and not of the document: no room for more shards, an index that somebody
# closed, an index where the alias belongs. An operator can heal these; a dead letter could not.
_CLUSTER_FAULTS = frozenset({"validation_exception", "index_closed_exception", "invalid_alias_name_exception"})
# What of an error's text is free of field values: the rest previews them.
_FIELD = re.compile(r"failed to parse field \[[^\]]*\] of type \[[^\]]*\]")


class Refusal(msgspec.Struct, frozen=True):
    """A document that OpenSearch will never take, by its position in what was written."""

    position: int
    reason: str


class _Answer(msgspec.Struct, frozen=True):
    """What OpenSearch said of one document: HTTP status and, of a failure, its error object."""

    status: int
    error: dict[str, Any]


class BulkWriter:
    """Writes documents in requests bounded by count and bytes.

    Delivery: at least once. `write` returns when every document is stored or refused; while OpenSearch is away or
    overloaded it waits, for as long as that takes. Of several documents with one id the last is what stays: no two of
    them are ever under way at the same time.

    Args:
        client: where to write.
        prepare: puts template and mapping in place; called again after a lost connection, since what comes back may
            be another, empty cluster, which would guess a mapping.
        outage: told of every attempt.
        max_documents: documents per request at most.
        max_bytes: size of a request at most; a larger document travels alone.
        max_wait_s: longest pause between two attempts.
    """

    def __init__(
        self,
        client: OpenSearch,
        prepare: Callable[[], None],
        outage: Outage,
        *,
        max_documents: int = MAX_DOCUMENTS,
        max_bytes: int = MAX_BYTES,
        max_wait_s: float = MAX_WAIT_S,
    ) -> None:
        self._client = client
        self._prepare = prepare
        self._outage = outage
        self._max_documents = max_documents
        self._max_bytes = max_bytes
        self._max_wait_s = max_wait_s
        self._lost_contact = False
        self._preparing = threading.Lock()

    async def write(self, documents: Sequence[Document], replaced: set[int] | None = None) -> list[Refusal]:
        """Store the documents; returns those that OpenSearch refuses for their content.

        An update of a document that is not there (any more) is refused too.

        Args:
            documents: what to store.
            replaced: takes the positions of those whose id was there before: they have erased what was added since.

        Raises:
            ConfigError: the credentials are refused.
            IndexingError: what answers is not OpenSearch, or refuses requests as such.
        """
        refusals: list[Refusal] = []
        rest = list(range(len(documents)))
        while rest:
            last = {(documents[at].index, documents[at].id): at for at in rest}
            refused = await self._deliver_all(self._requests(documents, last.values()), replaced)
            refusals += refused
            # Where the last copy is refused, the one before it is what stays.
            keys = {(documents[refusal.position].index, documents[refusal.position].id) for refusal in refused}
            earlier = set(rest).difference(last.values())
            rest = [at for at in sorted(earlier) if (documents[at].index, documents[at].id) in keys]
        return refusals

    def _requests(self, documents: Sequence[Document], positions: Iterable[int]) -> Iterator[dict[int, bytes]]:
        """Cut the documents into requests: position -> its two lines of the bulk body."""
        request: dict[int, bytes] = {}
        size = 0
        for at in positions:
            lines = _lines(documents[at])
            if request and (len(request) >= self._max_documents or size + len(lines) > self._max_bytes):
                yield request
                request, size = {}, 0
            request[at] = lines
            size += len(lines)
        if request:
            yield request

    async def _deliver_all(self, requests: Iterable[dict[int, bytes]], replaced: set[int] | None) -> list[Refusal]:
        """Send requests, some at once; refusals in the order of the requests."""
        refusals: list[Refusal] = []
        under_way: deque[asyncio.Task[list[Refusal]]] = deque()
        try:
            for request in requests:
                under_way.append(asyncio.create_task(self._deliver(request, replaced)))
                await asyncio.sleep(0)  # it is sent while the next one is made
                if len(under_way) == _AT_ONCE:
                    refusals += await under_way[0]
                    under_way.popleft()
            while under_way:
                refusals += await under_way[0]
                under_way.popleft()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        return refusals

    async def _deliver(self, request: dict[int, bytes], replaced: set[int] | None) -> list[Refusal]:
        """Send a request until nothing of it is left to be tried again."""
        refusals: list[Refusal] = []
        pending = request
        async for attempt in back_off(self._outage, max_wait_s=self._max_wait_s):
            with attempt:
                answers = await asyncio.to_thread(self._attempt, pending)
                refusals += [Refusal(at, _reason(answer)) for at, answer in answers.items() if _is_refused(answer)]
                if replaced is not None:
                    replaced.update(at for at, answer in answers.items() if answer.status == _REPLACED)
                pending = {at: pending[at] for at, answer in answers.items() if _is_postponed(answer)}
                if pending:
                    raise ServerUnavailable(_summary(answers[at] for at in pending))
        self._outage.answered()
        return refusals

    def _attempt(self, request: dict[int, bytes]) -> dict[int, _Answer]:
        """One try, in a thread of its own: position -> answer."""
        try:
            with self._preparing:
                if self._lost_contact:
                    self._prepare()
                    self._lost_contact = False
            return dict(zip(request, self._send(list(request.values())), strict=True))
        except ServerUnavailable as exc:
            self._lost_contact = self._lost_contact or isinstance(exc.__cause__, NoConnection)
            raise

    def _send(self, lines: list[bytes]) -> list[_Answer]:
        """Send one bulk request; refused as a whole for its content, it is halved until the culprit is alone."""
        with mapped_errors():
            try:
                response = self._client.bulk(
                    body=b"".join(lines), params={"filter_path": "errors,items.*.status,items.*.error"}
                )
            except TransportError as exc:
                if not _blames_content(exc):
                    raise
                if len(lines) == 1:
                    return [_Answer(400, error_of(exc) or {"type": "request_too_large"})]
                half = len(lines) // 2
                return self._send(lines[:half]) + self._send(lines[half:])
        answers = _answers(response)
        if len(answers) != len(lines):
            raise IndexingError("FRAUD_OPENSEARCH_URL: what answers there is not OpenSearch (no answer per document)")
        return answers


def back_off(outage: Outage, *, max_wait_s: float = MAX_WAIT_S, give_up_s: float = 0.0) -> AsyncRetrying:
    """Try again while the server is unavailable, after exponentially growing pauses with jitter.

    Args:
        outage: told of every attempt that fails; whoever tries tells it of the one that does not.
        max_wait_s: longest pause.
        give_up_s: total time after which the last error is raised; 0: never.
    """
    return AsyncRetrying(
        retry=retry_if_exception_type(ServerUnavailable),
        wait=wait_random_exponential(multiplier=_FIRST_WAIT_S, min=_FIRST_WAIT_S / 4, max=max_wait_s),
        stop=stop_before_delay(give_up_s) if give_up_s else stop_never,
        before_sleep=lambda state: outage.failed(_problem(state)),
        reraise=True,
    )


def _problem(state: RetryCallState) -> str:
    return str(state.outcome.exception() if state.outcome else "")


def _lines(document: Document) -> bytes:
    target = {"_index": document.index, "_id": document.id}
    action = {"update": {**target, "retry_on_conflict": 5}} if document.is_update else {"index": target}
    return b"%b\n%b\n" % (msgspec.json.encode(action), document.body)


def _answers(response: object) -> list[_Answer]:
    try:
        return [
            _Answer(result.status, result.error)
            for item in msgspec.convert(response, _Response).items
            for result in item.values()
        ]
    except msgspec.ValidationError:
        return []


class _Result(msgspec.Struct):
    status: int
    error: dict[str, Any] = {}


class _Response(msgspec.Struct):
    items: list[dict[str, _Result]]


# msgspec makes what it knows of a type when it first meets it. Two threads that do so at once, as for the first two
# requests of a batch, end the process; here there is one.
msgspec.convert({"items": []}, _Response)


def _is_refused(answer: _Answer) -> bool:
    kind = answer.error.get("type")
    return (answer.status == 400 and kind not in _CLUSTER_FAULTS) or kind == "document_missing_exception"


def _is_postponed(answer: _Answer) -> bool:
    """Whether a later attempt may succeed; raises ConfigError where rights are missing, which no attempt mends."""
    if refused := credentials_refused(answer.status, str(answer.error.get("type", ""))):
        raise refused
    return answer.status >= 300 and not _is_refused(answer)


def _blames_content(exc: TransportError) -> bool:
    """Whether a request failed as a whole for something in it: a line the engine cannot read, or its size."""
    return exc.status_code == 413 or (exc.status_code == 400 and bool(error_of(exc)))


def _reason(answer: _Answer) -> str:
    """Why a document was refused, without the values that OpenSearch quotes."""
    error = answer.error
    field = _FIELD.search(str(error.get("reason", "")))
    cause = error.get("caused_by") or {}
    parts = (error.get("type"), field.group() if field else None, cause.get("type"))
    return ": ".join(str(part) for part in parts if part)


def _summary(answers: Iterable[_Answer]) -> str:
    counts = Counter(f"{answer.status} {answer.error.get('type', '')}" for answer in answers)
    return "OpenSearch postpones documents: " + ", ".join(f"{count} x {kind}" for kind, count in counts.most_common())
