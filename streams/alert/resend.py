"""Dead letters of the alert role, sent again: each to its channel, under its own id.

Delivery: at least once. The letters are moved aside first, so the role may go on. What is not delivered goes back into
the file of the letters; killed in between, everything that was moved aside is tried again the next time, and a webhook
knows by the id what it has already.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from features.errors import ConfigError
from streams.alert.courier import Courier, Sender
from streams.alert.errors import ChannelAway, MessageRefused, SpoolAway
from streams.alert.letters import ASIDE, FILE, Letter, Reason, append, append_lines, set_aside
from streams.alert.message import Alert, Message

_LOCK: Final = "resend.lock"
_ANYTHING: Final[frozenset[str]] = frozenset()


class StoredLetter(Letter, frozen=True):
    """A letter as it is read."""

    alerts: tuple[Alert, ...]


class Choice(msgspec.Struct, frozen=True):
    """Which letters to send again, and where; empty sets choose all.

    Attributes:
        channels: of these channels.
        reasons: given up for these reasons.
        to: channel to send them to; empty: each to its own.
    """

    channels: Collection[str] = _ANYTHING
    reasons: Collection[str] = _ANYTHING
    to: str = ""

    def holds(self, letter: StoredLetter) -> bool:
        """Whether a letter is chosen."""
        return (not self.channels or letter.channel in self.channels) and (
            not self.reasons or letter.reason in self.reasons
        )


class Resent(msgspec.Struct):
    """What became of the letters, in letters: by channel and `delivered`, `refused`, `away`, `no_channel` or `left`.

    Attributes:
        counts: see above; `left` are those that were not chosen.
        problems: of each channel that failed, what it said last.
        unreadable: lines that are no letters; they stay.
        repeated: letters that stood there twice.
    """

    counts: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    problems: dict[str, str] = {}
    unreadable: int = 0
    repeated: int = 0


_LETTER: Final = msgspec.json.Decoder(StoredLetter)


def listing(folder: Path, choice: Choice) -> Counter[tuple[str, str]]:
    """How many chosen letters there are, by channel and reason; nothing is changed."""
    counts: Counter[tuple[str, str]] = Counter()
    seen: set[tuple[str, str]] = set()
    for file in (folder / ASIDE, folder / FILE):
        for line in _lines(file):
            letter = _read(line)
            if letter is not None and choice.holds(letter) and (letter.channel, letter.id) not in seen:
                seen.add((letter.channel, letter.id))
                counts[letter.channel, letter.reason] += 1
    return counts


async def resend(
    folder: Path, senders: Mapping[str, Sender], choice: Choice, now_ms: int, show: Callable[[int, int | None], None]
) -> Resent:
    """Send letters again; a channel that fails is not tried with the next of its letters.

    Args:
        folder: of the alert role, which may run meanwhile.
        senders: by channel.
        choice: which letters, and where.
        now_ms: the clock, epoch milliseconds.
        show: told how many lines are done.

    Raises:
        ConfigError: another process sends them already.
        SpoolAway: the files cannot be read or written.
    """
    with _alone(folder):
        aside = set_aside(folder)
        run = _Run(folder, {name: Courier(sender) for name, sender in senders.items()}, choice, now_ms)
        for done, line in enumerate(_lines(aside), 1):
            await run.take(line)
            show(done, None)
        aside.unlink()
    return run.resent


class _Run:
    """One pass over the letters."""

    def __init__(self, folder: Path, couriers: Mapping[str, Courier], choice: Choice, now_ms: int) -> None:
        self._folder, self._couriers, self._choice, self._now_ms = folder, couriers, choice, now_ms
        self._seen: set[tuple[str, str]] = set()
        self._away: set[str] = set()
        self.resent = Resent()

    async def take(self, line: bytes) -> None:
        """Deal with one line: it is delivered, or it is back in the file when this returns."""
        letter = _read(line)
        if letter is None:
            self.resent.unreadable += 1
            append_lines(self._folder, line.rstrip(b"\n") + b"\n")
            return
        if (key := (letter.channel, letter.id)) in self._seen:
            self.resent.repeated += 1
            return
        self._seen.add(key)
        if not self._choice.holds(letter):
            self._keep(letter, "left")
            return
        name = self._choice.to or letter.channel
        if name not in self._couriers:
            self._keep(letter, "no_channel", reason="no_channel", detail="the routes file has no channel of this name")
        elif name in self._away:
            self._keep(letter, "away")
        else:
            await self._send(letter, name)

    async def _send(self, letter: StoredLetter, name: str) -> None:
        message = Message(0, name, letter.id, letter.alerts, self._now_ms, letter.attempts)
        try:
            await self._couriers[name].carry(message, self._now_ms)
        except MessageRefused as exc:
            self.resent.problems[name] = str(exc)
            self._keep(letter, "refused", reason="refused", detail=str(exc), attempts=letter.attempts + 1)
        except ChannelAway as exc:
            self.resent.problems[name] = str(exc)
            self._away.add(name)
            self._keep(letter, "away", detail=str(exc), attempts=letter.attempts + 1)
        else:
            self.resent.counts[name, "delivered"] += 1

    def _keep(
        self, letter: StoredLetter, result: str, *, reason: Reason | None = None, detail: str = "", attempts: int = 0
    ) -> None:
        kept = msgspec.structs.replace(
            letter,
            reason=reason or letter.reason,
            detail=detail or letter.detail,
            attempts=attempts or letter.attempts,
        )
        append(self._folder, [kept])
        self.resent.counts[letter.channel, result] += 1


def _read(line: bytes) -> StoredLetter | None:
    try:
        letter = _LETTER.decode(line)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return letter if letter.alerts else None


def _lines(file: Path) -> Iterator[bytes]:
    """Lines of a file that may not be there, one at a time."""
    try:
        with file.open("rb") as opened:
            yield from (line for line in opened if line.strip())
    except FileNotFoundError:
        return
    except OSError as exc:
        raise SpoolAway(f"FRAUD_ALERTS_DIR: {file.name} cannot be read: {exc.strerror}") from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise SpoolAway(f"FRAUD_ALERTS_DIR: {folder} cannot be used: {exc.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigError(f"FRAUD_ALERTS_DIR: another `alert resend` works in {folder}") from None
    finally:
        os.close(descriptor)
