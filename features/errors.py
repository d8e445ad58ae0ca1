"""Every error that fraudstream raises on purpose, in one tree.

    FraudstreamError
    ├── ConfigError            a setting cannot be used; names the variable
    ├── ServerUnavailable      a server did not answer in time; names the variable that points at it
    │   └── StoreAway          Redis did not answer within the patience allowed
    ├── DecodeError            a record is not a transaction (reason code of the contract)
    ├── HistoryError           a history file cannot be used
    ├── ModelError             a model is missing, corrupt or made for other features
    ├── PromotionRefused       a model did not pass a gate
    ├── RulesError             a rule or list file cannot be used; names file, line and rule
    ├── StoreError             the online feature store answered something it must not
    │   ├── StaleEpoch         another worker owns the partition now
    │   ├── StoreLost          Redis holds less than was committed to Kafka
    │   └── StoreCorrupt       a history in Redis is none
    ├── PublishError           Kafka did not confirm a record
    ├── DashboardsError        OpenSearch Dashboards did not store every object
    └── IndexingError          OpenSearch refused what it must take

A library's exceptions are mapped to one of these where the library is called; nothing else leaves a room.
"""

from __future__ import annotations

from typing import ClassVar


class FraudstreamError(Exception):
    """The root: `exit_code` is what a command ends with when it meets this error."""

    exit_code: ClassVar[int] = 1


class ConfigError(FraudstreamError):
    """A setting cannot be used; the message names the variable and what to do."""

    exit_code: ClassVar[int] = 78


class ServerUnavailable(FraudstreamError):  # noqa: N818 - a state of the world, named as operators say it
    """A server did not answer in the time allowed; the message names the variable that points at it."""

    exit_code: ClassVar[int] = 69


class StoreAway(ServerUnavailable):
    """Redis did not answer within the patience allowed; what was asked may have been done or not."""


class DecodeError(FraudstreamError):
    """A record is not a transaction.

    Attributes:
        reason: code of the contract, section 3.7 (`not_json`, `bad_amount`, ...).
        detail: one sentence for people, free of card numbers.
    """

    exit_code: ClassVar[int] = 65

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class HistoryError(FraudstreamError):
    """A history file is missing, unreadable or lacks a column."""

    exit_code: ClassVar[int] = 65


class ModelError(FraudstreamError):
    """A model folder is missing, corrupt, or made for other features than the catalogue declares."""

    exit_code: ClassVar[int] = 66


class PromotionRefused(FraudstreamError):  # noqa: N818 - a decision, as operators say it
    """A model did not pass a gate on its way to production; the one in force stays."""


class RulesError(FraudstreamError):
    """Rules or lists cannot be used: one line per problem, with file, line and rule."""

    exit_code: ClassVar[int] = 65


class StoreError(FraudstreamError):
    """The online feature store answered something that it must not."""

    exit_code: ClassVar[int] = 74


class StaleEpoch(StoreError):  # noqa: N818 - the name of the fencing rule it reports
    """Another worker has taken the partition over; nothing was written."""

    exit_code: ClassVar[int] = 75


class BatchRevoked(FraudstreamError):  # noqa: N818 - a state, as the others
    """The partitions of a batch went to another worker before it had any effect; who owns them now reads it again."""


class StoreLost(StoreError):  # noqa: N818 - the name of the state it reports
    """Redis holds less than the offsets committed to Kafka say it must."""


class StoreCorrupt(StoreError):  # noqa: N818 - the name of the state it reports
    """A history in Redis is not one that this version could have written."""


class PublishError(FraudstreamError):
    """Kafka did not confirm a record; nothing of the batch was acknowledged."""

    exit_code: ClassVar[int] = 74


class DashboardsError(FraudstreamError):
    """OpenSearch Dashboards did not store every object of the import."""

    exit_code: ClassVar[int] = 74


class IndexingError(FraudstreamError):
    """OpenSearch refused something that it must take."""

    exit_code: ClassVar[int] = 74
