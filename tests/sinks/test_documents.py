"""Outcome -> index, id and document, against cases worked out by hand; and the template, against whole outcomes."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from datetime import UTC, datetime
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DecodeError
from sinks.deadletter import Reason
from sinks.documents import document_id, index_name, outcome_document
from sinks.index_template import mappings, template
from tests.outcome_examples import REVERSAL, WHOLE_OUTCOME

DAY_MS = 86_400_000


def ms(text):
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def changed(**changes):
    """The whole outcome with some fields changed; `fraud__name` reaches into `fraud`, None removes."""
    outcome = json.loads(WHOLE_OUTCOME)
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = outcome[parents[0]] if parents else outcome
        if value is None:
            del place[name]
        else:
            place[name] = value
    return json.dumps(outcome).encode()


def made(value, *, index_prefix="", indexed_at_ms=0):
    return outcome_document(value, index_prefix=index_prefix, indexed_at_ms=indexed_at_ms)


def test_document_is_the_outcome_and_what_dashboards_add():
    document = made(WHOLE_OUTCOME, index_prefix="eu-", indexed_at_ms=1_767_323_046_789)
    expected = json.loads(WHOLE_OUTCOME)
    expected["indexed_at"] = "2026-01-02T03:04:06.789Z"
    expected["fraud"] |= {"is_block": 1, "is_review": 0, "is_late": 1, "is_degraded": 1, "is_duplicate": 1}
    expected |= {"hour": 3, "weekday": "5 Fri", "charted": {"num_trans_last_10m": 7, "avg_amt_last_10m": 0.1}}
    assert (document.index, document.id) == ("eu-processed_transactions-2026.01.02", "tok_a:tx-1")
    assert json.loads(document.body) == expected
    assert b"\n" not in document.body


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({"fraud__outcome": "approve"}, {"is_block": 0, "is_review": 0}),
        ({"fraud__outcome": "review"}, {"is_block": 0, "is_review": 1}),
        ({"fraud__late_by_ms": None}, {"is_late": 0}),
        ({"fraud__degraded": None}, {"is_degraded": 0}),
    ],
)
def test_flags_are_numbers(changes, flags):
    fraud = json.loads(made(changed(**changes)).body)["fraud"]
    assert {name: fraud[name] for name in flags} == flags
    assert all(type(fraud[name]) is int for name in flags)


@pytest.mark.parametrize(
    ("event_time", "hour", "weekday"),
    [
        ("1970-01-01T00:00:00Z", 0, "4 Thu"),
        ("2026-01-04T23:59:59.999Z", 23, "7 Sun"),
        ("2026-01-05T01:00:00+01:00", 0, "1 Mon"),
    ],
)
def test_hour_and_weekday_are_those_of_the_effective_time(event_time, hour, weekday):
    fields = json.loads(made(changed(event_time=event_time, fraud__clock_skew_ms=None)).body)
    assert (fields["hour"], fields["weekday"]) == (hour, weekday)


def test_the_outcome_review_opens_a_case_and_no_other_does():
    assert json.loads(made(changed(fraud__outcome="review")).body)["review"] == {
        "state": "open",
        "opened_at": "2026-01-02T03:04:06.000Z",
        "expected_loss": 0.9120000000000001 * 12.30,
    }
    assert all("review" not in json.loads(made(changed(fraud__outcome=said)).body) for said in ("approve", "block"))


def test_what_cannot_be_drawn_is_not_charted():
    features = {"num_trans_last_10m": True, "avg_amt_last_10m": "much", "amt_ratio1": 1, "unheard_of": 2}
    assert json.loads(made(changed(fraud__features=features)).body)["charted"] == {"amt_ratio1": 1}
    assert "charted" not in json.loads(made(changed(fraud__features=None)).body)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(DecodeError, match="not_json"):
        made(b'{"transaction_id": "\xff"}')


def test_a_reversal_has_a_document_of_its_own():
    document = made(REVERSAL)
    fraud = json.loads(document.body)["fraud"]
    assert document.id == "tok_a:rv-1"
    assert document.index == "processed_transactions-2026.01.02"
    assert (fraud["reversed"], fraud["reversal"], fraud["is_block"]) == ("tx-1", "applied", 0)
    assert "score" not in fraud


@pytest.mark.parametrize("amount", ["9999999999999.99", "999999999999.999", "1000000000000000", "0.01", "12.3"])
def test_amounts_stay_exact(amount):
    body = made(WHOLE_OUTCOME.replace(b"12.30", amount.encode())).body
    assert json.loads(body)["amount"] == float(amount)
    assert format(float(amount), f".{len(amount.partition('.')[2])}f") == amount


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_feature_survives_bit_for_bit(value):
    body = made(WHOLE_OUTCOME.replace(b'"avg_amt_last_10m": 0.1', f'"avg_amt_last_10m": {value!r}'.encode())).body
    assert json.loads(body)["fraud"]["features"]["avg_amt_last_10m"].hex() == value.hex()


@pytest.mark.parametrize(
    ("card_id", "transaction_id", "expected"),
    [
        ("tok_a", "tx-1", "tok_a:tx-1"),
        ("a:b", "c", "a%3Ab:c"),
        ("a", "b:c", "a:b:c"),
        ("50%", "x", "50%25:x"),
        ("a%3Ab", "c", "a%253Ab:c"),
        ("kärtchen", "ü%:1", "kärtchen:ü%:1"),
    ],
)
def test_ids(card_id, transaction_id, expected):
    assert document_id(card_id, transaction_id) == expected


def test_an_id_of_512_bytes_stays_and_a_longer_one_is_hashed():
    # 128 characters of three bytes, a colon, and as many as fit of one byte.
    card_id = "€" * 128
    longest = f"{card_id}:{'x' * 127}"
    assert document_id(card_id, "x" * 127) == longest
    assert len(longest.encode()) == 512
    assert document_id(card_id, "x" * 128) == f"sha256:{hashlib.sha256(f'{longest}x'.encode()).hexdigest()}"
    # The escapes count: 128 colons take 384 bytes.
    assert document_id(":" * 128, "x" * 128).startswith("sha256:")


@given(*[st.text(alphabet="%:3A25ab", min_size=1, max_size=4)] * 4)
def test_different_transactions_have_different_ids(card_a, transaction_a, card_b, transaction_b):
    same = (card_a, transaction_a) == (card_b, transaction_b)
    assert (document_id(card_a, transaction_a) == document_id(card_b, transaction_b)) == same


@pytest.mark.parametrize(
    ("effective", "broker", "expected"),
    [
        ("2026-01-02T00:00:00.000Z", "2026-01-02T00:00:01Z", "2026.01.02"),
        ("2026-01-01T23:59:59.999Z", "2026-01-02T00:00:01Z", "2026.01.01"),
        ("2024-02-29T12:00:00.000Z", "2024-02-29T12:00:00Z", "2024.02.29"),
        ("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00Z", "1970.01.01"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59Z", "9999.12.31"),
        # 400 days before 2026-06-15 is 2025-05-11.
        ("2025-05-11T08:00:00.000Z", "2026-06-15T08:00:00Z", "2025.05.11"),
        ("2025-05-11T07:59:59.999Z", "2026-06-15T08:00:00Z", "older"),
        ("1970-01-01T00:00:00.000Z", "2026-06-15T08:00:00Z", "older"),
        ("2026-06-16T00:01:00.000Z", "2026-06-15T23:59:00Z", "2026.06.16"),
    ],
)
def test_index_is_the_utc_day_of_the_effective_time(effective, broker, expected):
    assert index_name(ms(effective), ms(broker), "p-") == f"p-processed_transactions-{expected}"


def test_the_effective_time_is_the_event_time_without_the_skew():
    # 03:04:05.678 minus this skew is one millisecond before midnight.
    skew_ms = ms("2026-01-02T03:04:05.678Z") - ms("2026-01-02T00:00:00Z") + 1
    assert made(changed(fraud__clock_skew_ms=skew_ms)).index.endswith("-2026.01.01")
    assert made(changed(fraud__clock_skew_ms=skew_ms - 1)).index.endswith("-2026.01.02")
    assert made(changed(fraud__clock_skew_ms=None)).index.endswith("-2026.01.02")


def test_age_counts_from_the_broker_time_and_not_from_the_scoring():
    # A replay a year and a half later: scored now, but the record's own timestamp is what counts.
    scored_ms = ms("2027-08-01T00:00:00Z")
    broker_ms = ms("2026-01-02T03:04:06Z")
    replayed = changed(fraud__scored_at="2027-08-01T00:00:00.000Z", fraud__latency_ms=scored_ms - broker_ms)
    assert made(replayed).index.endswith("-2026.01.02")
    edge = ms("2026-01-02T03:04:05.678Z") - 400 + 400 * DAY_MS
    assert made(changed(fraud__scored_at=iso(edge), fraud__latency_ms=0)).index.endswith("-2026.01.02")
    assert made(changed(fraud__scored_at=iso(edge + 1), fraud__latency_ms=0)).index.endswith("-older")
    assert made(changed(fraud__scored_at=iso(edge + 1), fraud__latency_ms=1)).index.endswith("-2026.01.02")


def iso(ts_ms):
    return datetime.fromtimestamp(ts_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"card_id": "\\ud800"}', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'"text"', "not_object"),
        (b"[]", "not_object"),
        (b"null", "not_object"),
        (b"{}", "missing_field"),
        (changed(card_id=None), "missing_field"),
        (changed(fraud__scored_at=None), "missing_field"),
        (changed(fraud__latency_ms=None), "missing_field"),
        (changed(fraud="no object"), "bad_type"),
        (changed(transaction_id=7), "bad_type"),
        (changed(transaction_id=""), "bad_type"),
        (changed(event_time="yesterday"), "bad_type"),
        (changed(event_time="2026-01-02T03:04:05"), "bad_type"),
        (changed(fraud__clock_skew_ms=-1), "bad_type"),
        (changed(fraud__clock_skew_ms=10**15), "bad_time"),
        (changed(event_time="1969-12-31T23:59:59Z"), "bad_time"),
    ],
)
def test_what_is_no_outcome_is_named(value, reason):
    with pytest.raises(DecodeError) as caught:
        made(value)
    assert caught.value.reason == reason
    assert reason in get_args(Reason)


def test_no_value_is_quoted():
    with pytest.raises(DecodeError) as caught:
        made(changed(event_time="4111111111111111"))
    assert "4111" not in str(caught.value)


def leaves(value, path=""):
    """Paths of everything in a document that is not an object."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path


def mapped(path):
    """Whether a path leads to a declared field, or into an object that is stored as it is."""
    place = mappings()
    for name in path.split("."):
        place = place["properties"].get(name)
        if place is None:
            return False
        if place.get("enabled") is False:
            return True
    return "type" in place


@pytest.mark.parametrize("outcome", [WHOLE_OUTCOME, REVERSAL], ids=["whole", "reversal"])
def test_every_field_of_a_document_is_mapped(outcome):
    paths = set(leaves(json.loads(made(outcome).body)))
    assert len(paths) > 10
    assert {path for path in paths if not mapped(path)} == set()


def test_template_guesses_nothing_and_covers_every_index():
    body = template("eu-")
    (pattern,) = body["index_patterns"]
    assert body["template"]["mappings"]["dynamic"] is False
    assert list(body["template"]["aliases"]) == ["eu-processed_transactions"]
    for index in (made(WHOLE_OUTCOME, index_prefix="eu-").index, index_name(0, 500 * DAY_MS, "eu-")):
        assert fnmatch.fnmatchcase(index, pattern)
    assert not fnmatch.fnmatchcase("processed_transactions-2026.01.02", pattern)
    assert msgspec.json.encode(body)  # plain JSON
