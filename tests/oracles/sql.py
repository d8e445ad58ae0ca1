"""A second oracle of the two windows: a self join in DuckDB, and the resolution of copies and reversals in SQL."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from .naive import DAY_MS, TEN_MINUTES_MS, WEEK_MS, Event


class Row(NamedTuple):
    """One authorization: copies are resolved, and ``removed_from_seq`` is the place of the reversal, None if none."""

    seq: int
    card: str
    t_ms: int
    amount: int
    removed_from_seq: int | None


# Without them an empty table, or a column of nothing but None, would have no types.
_AUTHORIZATIONS = pa.schema(
    {
        "seq": pa.int64(),
        "card": pa.string(),
        "t_ms": pa.int64(),
        "amount": pa.int64(),
        "removed_from_seq": pa.int64(),
    }
)
_EVENTS = pa.schema(
    {
        "seq": pa.int64(),
        "card": pa.string(),
        "transaction_id": pa.string(),
        "kind": pa.string(),
        "original": pa.string(),
        "t_ms": pa.int64(),
        "amount": pa.int64(),
    }
)

_WINDOWS = """
with i as (
    select *,
        max(t_ms) over upto as newest_ms,
        max(t_ms) over (partition by card order by seq rows between unbounded preceding and 1 preceding) as before_ms
    from authorizations
    window upto as (partition by card order by seq rows between unbounded preceding and current row)
)
select i.seq, i.card,
    count(*) filter (j.t_ms >= i.t_ms - $ten) as num_10m,
    count(*) as num_1w,
    sum(j.amount) filter (j.t_ms >= i.t_ms - $ten) as sum_10m,
    sum(j.amount) as sum_1w,
    min(j.amount) filter (j.t_ms >= i.t_ms - $ten) as min_10m,
    max(j.amount) filter (j.t_ms >= i.t_ms - $ten) as max_10m,
    max(j.amount) as max_1w,
    arg_max(j.amount, (j.t_ms, j.seq)) filter (j.seq < i.seq) as prev_amount,
    i.t_ms - max(j.t_ms) filter (j.seq < i.seq) as since_last_ms,
    case when any_value(i.before_ms) > i.t_ms then any_value(i.before_ms) - i.t_ms end as late_by_ms
from i join authorizations j on j.card = i.card and j.seq <= i.seq and j.t_ms between i.t_ms - $week and i.t_ms
where j.seq = i.seq
    or (j.t_ms >= i.newest_ms - $week - $grace and (j.removed_from_seq is null or j.removed_from_seq > i.seq))
group by i.seq, i.card, i.t_ms
order by i.seq
"""

_RESOLVE = """
with reversals as (
    select card, original, min(seq) as seq from events where kind = 'reversal' group by card, original
), firsts as (
    select card, transaction_id, min(seq) as seq, arg_min(t_ms, seq) as t_ms, arg_min(amount, seq) as amount
    from events where kind = 'authorization' group by card, transaction_id
)
select f.seq, f.card, f.t_ms, f.amount, r.seq
from firsts f left join reversals r on r.card = f.card and r.original = f.transaction_id
order by f.seq
"""


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    """One in-memory database for all calls: opening one takes longer than a small query."""
    return duckdb.connect()


def sql_windows(rows: Iterable[Row], grace_ms: int = DAY_MS) -> list[dict[str, Any]]:
    """Counts, integer sums (minor units) and the like of both windows, one dict per row in order of ``seq``.

    Keys: ``seq, card, num_10m, num_1w, sum_10m, sum_1w, min_10m, max_10m, max_1w, prev_amount, since_last_ms,
    late_by_ms``; the last three are None where there is nothing to tell.
    """
    table = pa.Table.from_pylist([row._asdict() for row in rows], schema=_AUTHORIZATIONS)
    with _database().cursor() as db:
        db.register("authorizations", table)
        parameters = {"ten": TEN_MINUTES_MS, "week": WEEK_MS, "grace": grace_ms}
        cursor = db.execute(_WINDOWS, parameters)
        names = [column[0] for column in cursor.description or ()]
        # A sum of 64-bit integers is a 128-bit one; Python gets it as an int, exact.
        return [dict(zip(names, found, strict=True)) for found in cursor.fetchall()]


def sql_resolve(events: Sequence[Event]) -> list[Row]:
    """Copies and reversals of a stream resolved by SQL alone.

    Right only while nothing is ever gone: the stream's times must lie within one week plus grace of each other.
    """
    plain = [
        {
            "seq": seq,
            "card": e.card,
            "transaction_id": e.transaction_id,
            "kind": e.kind,
            "original": e.original,
            "t_ms": e.t_ms,
            "amount": e.amount_minor,
        }
        for seq, e in enumerate(events)
    ]
    with _database().cursor() as db:
        db.register("events", pa.Table.from_pylist(plain, schema=_EVENTS))
        return [Row(*found) for found in db.execute(_RESOLVE).fetchall()]
