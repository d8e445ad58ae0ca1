"""What analysts do: claim, release, answer, undo. One way for the pages and for the API."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UNSET

from console.cases import Case, CaseKey, Said, case_of, label_of
from console.events import Action, ReviewEvent, encode_event
from console.library import Library
from console.metrics import ConsoleMetrics
from console.notes import Entry, Notes, Parcel, Result
from console.outbox import Outbox
from console.users import Account
from features.errors import ServerUnavailable
from features.pan import scrub
from features.times import format_rfc3339
from scoring.label import MAX_NOTE, Answer, encode_label
from sinks.topics import AUDIT, LABELS

_LABEL_ID: Final = re.compile(r"[A-Za-z0-9_-]{16,64}").fullmatch


class Actor(msgspec.Struct, frozen=True):
    """Who asks, and how they came in."""

    account: Account
    via: str
    address: str

    @property
    def name(self) -> str:
        """In the users file."""
        return self.account.name

    @property
    def is_admin(self) -> bool:
        """Whether they may act on others' cases."""
        return self.account.role == "admin"

    @property
    def may_answer(self) -> bool:
        """Whether they may do more than read."""
        return self.account.role in {"analyst", "admin"}


class Report(msgspec.Struct, frozen=True):
    """What became of a request.

    Attributes:
        word: `answered`, `undone`, `claimed`, `released`: done. `held`, `changed`, `nothing`, `not_yours`, `bad_id`,
            `too_long`, `forbidden`: refused.
        text: for people.
        done: whether it is done.
        saved: whether Kafka has confirmed what was said; else it is kept, and sent until it has.
    """

    word: str
    text: str
    done: bool = True
    saved: bool = True


class Desk:
    """The actions.

    Args:
        notes: claims, answers and the outbox in Redis.
        library: outcomes in OpenSearch.
        outbox: the way to Kafka.
        topic: a topic's full name.
        now_ms: the clock, epoch milliseconds.
        metrics: counters of this process.
    """

    def __init__(
        self,
        notes: Notes,
        library: Library,
        outbox: Outbox,
        *,
        topic: Callable[[str], str],
        now_ms: Callable[[], int],
        metrics: ConsoleMetrics,
    ) -> None:
        self._notes, self._library, self._outbox = notes, library, outbox
        self._topic, self._now_ms, self._metrics = topic, now_ms, metrics

    async def case(self, key: CaseKey) -> Case | None:
        """A case as it stands; while OpenSearch is away, one that was looked at lately. None: there is none.

        Raises:
            ServerUnavailable: Redis does not answer, or OpenSearch does not and nobody looked at the case lately.
        """
        try:
            fields = await self._library.outcome(key)
        except ServerUnavailable:
            fields = await self._notes.remembered(key)
            if fields is None:
                raise
        else:
            if fields is not None:
                await self._notes.remember(key, fields)
        if fields is None:
            return None
        (standing,) = await self._notes.standing([key.id])
        return case_of(fields, standing.said, standing.holder)

    async def claim(self, actor: Actor, key: CaseKey, *, take_over: bool = False) -> Report:
        """Work on a case; again: go on working on it."""
        if not actor.may_answer:
            return self._forbidden()
        action: Action = "take_over" if take_over and actor.is_admin else "claim"
        event = self._event(actor, action, key)
        result = await self._notes.claim(
            actor.name,
            event,
            self._entry([event]),
            now_ms=self._now_ms(),
            take_over=action == "take_over",
        )
        if result.word == "held":
            return self._held(result)
        if result.word == "done":
            self._outbox.send(event.event_id, self._entry([event]))
        return Report("claimed", "The case is yours.")

    async def release(self, actor: Actor, key: CaseKey) -> Report:
        """Let a case go; an admin may let anybody's go."""
        if not actor.may_answer:
            return self._forbidden()
        event = self._event(actor, "release", key)
        result = await self._notes.release(actor.name, event, self._entry([event]), force=actor.is_admin)
        if result.word == "held":
            return self._held(result)
        if result.word == "done":
            self._outbox.send(event.event_id, self._entry([event]))
        return Report("released", "The case is free again.")

    async def answer(
        self, actor: Actor, key: CaseKey, answer: Answer, *, note: str, label_id: str, seen: str
    ) -> Report:
        """Say what a transaction is.

        Args:
            actor: who.
            key: the case.
            answer: the word.
            note: for whoever reads it later.
            label_id: made with the form, so that a second click counts once.
            seen: time of the newest answer that the form showed; empty: none.

        Raises:
            ServerUnavailable: Redis does not answer, or the case cannot be had: nothing was said.
        """
        refused = self._refusal(actor, note, label_id)
        if refused is not None:
            return refused
        case = await self._remembered(key)
        if case is None:
            return self._refused("nothing", "There is no such transaction.")
        if answer == "withdrawn" and not case.answered:
            return self._refused("nothing", "There is no answer to take back.")
        if answer == "withdrawn" and not self._may_undo(actor, case):
            return self._refused("not_yours", f"The answer is {_whose(case)}: only they or an admin can take it back.")
        return await self._say(actor, case, answer, note.strip(), label_id, seen)

    async def told(self, event: ReviewEvent) -> None:
        """Put an event into the trail that belongs to no case: a login, say."""
        entry = self._entry([event])
        await self._notes.put(event.event_id, entry)
        self._outbox.send(event.event_id, entry)

    def event(self, action: Action, name: str, via: str, address: str) -> ReviewEvent:
        """An event of now that belongs to no case."""
        return ReviewEvent(
            event_id=new_id(), at=format_rfc3339(self._now_ms()), actor=name, action=action, via=via, address=address
        )

    async def _say(self, actor: Actor, case: Case, answer: Answer, note: str, label_id: str, seen: str) -> Report:
        at = format_rfc3339(self._now_ms())
        label = label_of(case, label_id=label_id, answer=answer, analyst=actor.name, note=note, at=at)
        undone = answer == "withdrawn"
        event = msgspec.structs.replace(
            self._event(actor, "undo" if undone else "answer", case.key),
            event_id=label_id,
            at=at,
            label=answer,
            label_id=label_id,
            note=note or UNSET,
            other=case.said.analyst if undone and case.said is not None else UNSET,
        )
        parcel = Parcel(self._topic(LABELS), case.key.card_id, encode_label(label).decode())
        entry = self._entry([event], parcel)
        said = Said(answer, at, analyst=actor.name, note=scrub(note), label_id=label_id, saved=False)
        result = await self._notes.answer(actor.name, event, entry, said, seen=seen)
        if result.word == "held":
            return self._held(result)
        if result.word == "changed":
            assert result.said is not None
            return self._refused(
                "changed", f"{result.said.analyst} has answered meanwhile: {result.said.label}. Look at the case again."
            )
        if result.word == "kept":  # a second click: the first one's label is the one that counts
            return _told(answer, saved=await self._outbox.arrived(label_id))
        saved = await self._outbox.deliver(label_id, entry)
        self._metrics.answers[answer].inc()
        return _told(answer, saved=saved)

    async def _remembered(self, key: CaseKey) -> Case | None:
        """The case without asking OpenSearch where it was looked at: an answer must not depend on it."""
        fields = await self._notes.remembered(key)
        if fields is None:
            return await self.case(key)
        (standing,) = await self._notes.standing([key.id])
        return case_of(fields, standing.said, standing.holder)

    def _refusal(self, actor: Actor, note: str, label_id: str) -> Report | None:
        if not actor.may_answer:
            return self._forbidden()
        if _LABEL_ID(label_id) is None:
            return self._refused("bad_id", "label_id must have 16 to 64 letters, digits, - and _.")
        if len(note) > MAX_NOTE:
            return self._refused("too_long", f"A note has at most {MAX_NOTE:,} characters.")
        return None

    def _may_undo(self, actor: Actor, case: Case) -> bool:
        assert case.said is not None
        return actor.is_admin or (case.said.source == "analyst" and case.said.analyst == actor.name)

    def _event(self, actor: Actor, action: Action, key: CaseKey) -> ReviewEvent:
        event = self.event(action, actor.name, actor.via, actor.address)
        return msgspec.structs.replace(event, card_id=key.card_id, transaction_id=key.transaction_id)

    def _entry(self, events: list[ReviewEvent], *parcels: Parcel) -> Entry:
        told = [Parcel(self._topic(AUDIT), _key_of(event), encode_event(event).decode()) for event in events]
        return Entry(self._now_ms(), (*parcels, *told))

    def _held(self, result: Result) -> Report:
        return self._refused("held", f"{result.other} is working on this case. Nothing was changed.")

    def _forbidden(self) -> Report:
        return self._refused("forbidden", "You may read, but not answer: ask an admin for the role of an analyst.")

    def _refused(self, word: str, text: str) -> Report:
        self._metrics.refused.inc()
        return Report(word, text, done=False)


def new_id() -> str:
    """An id for a label or an event."""
    return secrets.token_hex(16)


def _told(answer: Answer, *, saved: bool) -> Report:
    word = "undone" if answer == "withdrawn" else "answered"
    said = {
        "fraud": "Saved as fraud.",
        "valid": "Saved as valid.",
        "undecided": "Saved: needs further review.",
        "withdrawn": "The answer is taken back.",
    }[answer]
    if saved:
        return Report(word, said)
    kept = "Kafka does not answer now: this is kept, and will be sent as soon as Kafka is back."
    return Report(word, f"{said} {kept}", saved=False)


def _whose(case: Case) -> str:
    assert case.said is not None
    return f"{case.said.analyst}'s" if case.said.analyst else f"a {case.said.source}'s"


def _key_of(event: ReviewEvent) -> str:
    if isinstance(event.card_id, str) and isinstance(event.transaction_id, str):
        return CaseKey(event.card_id, event.transaction_id).id
    return event.actor
