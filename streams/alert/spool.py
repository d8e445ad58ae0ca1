"""Alerts on disk, from before their offsets are committed until they are delivered.

One SQLite file, synced at every commit. It holds the messages to be sent (`outbox`), the alerts that wait for a digest
or for the end of quiet hours (`pending`), what was told already (`seen`), and what throttles look back on (`passed`,
`held`). Every method is one transaction: done as a whole, or not at all and safe to repeat.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from features.errors import ConfigError
from streams.alert.errors import SpoolAway
from streams.alert.letters import Letter, Reason, append, letter
from streams.alert.message import Alert, Message, digest_id
from streams.alert.plan import Plan, Throttle

FILE: Final = "spool.sqlite"
_SCHEMA_VERSION: Final = 1
_MOST_IN_A_DIGEST: Final = 500
_TIDY_EVERY_MS: Final = 60_000
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS seen(channel TEXT, id TEXT, at_ms INTEGER, PRIMARY KEY(channel, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_at ON seen(at_ms);
CREATE TABLE IF NOT EXISTS passed(key TEXT, at_ms INTEGER);
CREATE INDEX IF NOT EXISTS passed_at ON passed(key, at_ms);
CREATE TABLE IF NOT EXISTS held(key TEXT PRIMARY KEY, count INTEGER, at_ms INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pending(
    number INTEGER PRIMARY KEY, channel TEXT, id TEXT, urgent INTEGER, at_ms INTEGER, alert BLOB);
CREATE INDEX IF NOT EXISTS pending_of ON pending(channel, number);
CREATE TABLE IF NOT EXISTS outbox(
    number INTEGER PRIMARY KEY, channel TEXT, id TEXT, urgent INTEGER, at_ms INTEGER, attempts INTEGER, alerts BLOB);
CREATE INDEX IF NOT EXISTS outbox_of ON outbox(channel, attempts, number);
"""
_ALERT: Final = msgspec.json.Decoder(Alert)
_ALERTS: Final = msgspec.json.Decoder(tuple[Alert, ...])


class Offer(msgspec.Struct, frozen=True):
    """An alert for one channel.

    Attributes:
        channel: name.
        alert: what to tell.
        throttles: what it counts against: key and limit.
        waits: whether it waits for a digest or the end of quiet hours.
        urgent: whether quiet hours do not hold it back.
    """

    channel: str
    alert: Alert
    throttles: Sequence[tuple[str, Throttle]]
    waits: bool
    urgent: bool


class Spool:
    """See the module; used by one thread at a time.

    Args:
        folder: made where it is missing; only its owner may read what is in it.
        plan: limits.

    Attributes:
        waiting: alerts that are not delivered yet, by channel.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder, self._plan = folder, plan
        self._db: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._tidied_ms = 0
        self.waiting: Counter[str] = Counter()

    def open(self) -> None:
        """Take the folder.

        Raises:
            SpoolAway: it cannot be written, or another process has it.
            ConfigError: what lies there is no spool of this version.
        """
        self.close()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(os.open(self._folder / FILE, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite takes its mode for all files
        except BlockingIOError:
            raise SpoolAway(f"FRAUD_ALERTS_DIR: another alert role uses {self._folder}") from None
        except OSError as exc:
            raise SpoolAway(f"FRAUD_ALERTS_DIR: {self._folder} cannot be used: {exc.strerror}") from None
        with _mapped(self._folder):
            self._db = sqlite3.connect(self._folder / FILE, isolation_level=None, check_same_thread=False)
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version not in {0, _SCHEMA_VERSION}:
                raise ConfigError(f"FRAUD_ALERTS_DIR: {self._folder} is of another version; give a new folder")
            self._db.executescript(f"{_SCHEMA} PRAGMA user_version={_SCHEMA_VERSION};")
            for table, count in (("outbox", "json_array_length(alerts)"), ("pending", "1")):
                rows = self._db.execute(f"SELECT channel, SUM({count}) FROM {table} GROUP BY channel")  # noqa: S608 - ours
                self.waiting.update(dict(rows))

    def close(self) -> None:
        """Give the folder back."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
        if self._lock is not None:
            os.close(self._lock)
        self._db = self._lock = None
        self.waiting.clear()

    def limit(self, plan: Plan) -> None:
        """Other limits from now on."""
        self._plan = plan

    def put(self, offers: Sequence[Offer], now_ms: int) -> Counter[tuple[str, str]]:
        """Take alerts in, durable on return.

        Returns:
            How many of each channel became what: `queued`, `repeated`, `throttled`, `given_up`.
        """
        results: Counter[tuple[str, str]] = Counter()
        grown: Counter[str] = Counter()
        overflow: list[Letter] = []
        with self._transaction() as db:
            self._tidy(db, now_ms)
            for offer in offers:
                channel, id_ = offer.channel, offer.alert.id
                if not db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (channel, id_, now_ms)).rowcount:
                    result = "repeated"
                elif (held_back := _passes(db, offer, now_ms)) is None:
                    result = "throttled"
                elif self.waiting[channel] + grown[channel] >= self._plan.most_waiting:
                    result = "given_up"
                    detail = "too many alerts wait for this channel (most_waiting)"
                    overflow.append(letter(channel, id_, [offer.alert], "overflow", detail, 0, now_ms))
                else:
                    result = "queued"
                    grown[channel] += 1
                    _store(db, offer, msgspec.structs.replace(offer.alert, held_back=held_back), now_ms)
                results[channel, result] += 1
            append(self._folder, overflow)
        self.waiting.update(grown)
        return results

    def digest(self, channel: str, since_ms: int, now_ms: int, *, urgent_only: bool) -> int:
        """Make a message of the alerts that wait, if the oldest is from then or before.

        Returns:
            How many alerts are in it; 0: it is not time yet.
        """
        with self._transaction() as db:
            rows = db.execute(
                "SELECT number, id, urgent, at_ms, alert FROM pending WHERE channel=? AND urgent>=? "
                "ORDER BY number LIMIT ?",
                (channel, urgent_only, _MOST_IN_A_DIGEST),
            ).fetchall()
            if not rows or rows[0][3] > since_ms:
                return 0
            ids = [row[1] for row in rows]
            alerts = [_ALERT.decode(row[4]) for row in rows]
            db.execute(
                "INSERT INTO outbox VALUES (NULL, ?, ?, ?, ?, 0, ?)",
                (
                    channel, ids[0] if len(ids) == 1 else digest_id(ids), all(row[2] for row in rows), now_ms,
                    msgspec.json.encode(alerts),
                ),
            )  # fmt: skip
            db.executemany("DELETE FROM pending WHERE number=?", [row[:1] for row in rows])
        return len(rows)

    def next(self, channel: str, *, urgent_only: bool) -> Message | None:
        """The message to try next: the one with the fewest attempts, of those the oldest."""
        with self._transaction() as db:
            row = db.execute(
                "SELECT number, channel, id, alerts, at_ms, attempts FROM outbox WHERE channel=? AND urgent>=? "
                "ORDER BY attempts, number LIMIT 1",
                (channel, urgent_only),
            ).fetchone()
        if row is None:
            return None
        number, name, id_, alerts, made_ms, attempts = row
        return Message(number, name, id_, _ALERTS.decode(alerts), made_ms, attempts)

    def failed(self, message: Message) -> None:
        """One more attempt has failed."""
        with self._transaction() as db:
            db.execute("UPDATE outbox SET attempts=attempts+1 WHERE number=?", (message.number,))

    def sent(self, message: Message) -> None:
        """It is delivered."""
        with self._transaction() as db:
            db.execute("DELETE FROM outbox WHERE number=?", (message.number,))
        self.waiting[message.channel] -= len(message.alerts)

    def bury(self, message: Message, reason: Reason, detail: str, now_ms: int) -> None:
        """It becomes a dead letter."""
        one = letter(message.channel, message.id, message.alerts, reason, detail, message.attempts, now_ms)
        append(self._folder, [one])
        self.sent(message)

    def bury_others(self, channels: Collection[str], now_ms: int) -> int:
        """What waits for channels that there are no more becomes dead letters: how many alerts."""
        buried = 0
        for channel in sorted(self.waiting.keys() - channels):
            while self.digest(channel, now_ms, now_ms, urgent_only=False):
                pass
            while (message := self.next(channel, urgent_only=False)) is not None:
                self.bury(message, "no_channel", "the routes file has no channel of this name any more", now_ms)
                buried += len(message.alerts)
            del self.waiting[channel]
        return buried

    def _tidy(self, db: sqlite3.Connection, now_ms: int) -> None:
        """Forget what is too old to matter, once a minute."""
        if 0 <= now_ms - self._tidied_ms < _TIDY_EVERY_MS:
            return
        before_ms = now_ms - self._plan.remember_ms
        db.execute("DELETE FROM seen WHERE at_ms < ?", (before_ms,))
        db.execute("DELETE FROM passed WHERE at_ms < ?", (now_ms - self._plan.longest_throttle_ms,))
        db.execute("DELETE FROM held WHERE at_ms < ?", (before_ms,))
        self._tidied_ms = now_ms

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _mapped(self._folder):
            if self._db is None:
                raise SpoolAway(f"FRAUD_ALERTS_DIR: {self._folder} is not open")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    with suppress(sqlite3.Error):  # the first error is the one to tell
                        self._db.execute("ROLLBACK")


def _passes(db: sqlite3.Connection, offer: Offer, now_ms: int) -> int | None:
    """How many were held back before this one; None: this one is held back too."""
    for key, limit in offer.throttles:
        (passed,) = db.execute(
            "SELECT COUNT(*) FROM passed WHERE key=? AND at_ms>?", (key, now_ms - limit.within_ms)
        ).fetchone()
        if passed >= limit.most:
            db.execute(
                "INSERT INTO held VALUES (?, 1, ?) ON CONFLICT(key) DO UPDATE SET count=count+1, at_ms=excluded.at_ms",
                (key, now_ms),
            )
            return None
    held_back = 0
    for key, _ in offer.throttles:
        db.execute("INSERT INTO passed VALUES (?, ?)", (key, now_ms))
        for (count,) in db.execute("DELETE FROM held WHERE key=? RETURNING count", (key,)).fetchall():
            held_back += count
    return held_back


def _store(db: sqlite3.Connection, offer: Offer, alert: Alert, now_ms: int) -> None:
    if offer.waits:
        row = (offer.channel, alert.id, offer.urgent, now_ms, msgspec.json.encode(alert))
        db.execute("INSERT INTO pending VALUES (NULL, ?, ?, ?, ?, ?)", row)
    else:
        row = (offer.channel, alert.id, offer.urgent, now_ms, msgspec.json.encode([alert]))
        db.execute("INSERT INTO outbox VALUES (NULL, ?, ?, ?, ?, 0, ?)", row)


@contextmanager
def _mapped(folder: Path) -> Iterator[None]:
    """SQLite's errors as ours: those that may heal, and those that cannot."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        raise SpoolAway(f"FRAUD_ALERTS_DIR: {folder / FILE}: {exc}") from None
    except sqlite3.DatabaseError as exc:
        raise ConfigError(
            f"FRAUD_ALERTS_DIR: {folder / FILE} is damaged ({exc}); move it away, and move the group's offsets back "
            "to where alerts may be missing"
        ) from None
