"""`fraudstream dlq`: dead letters are looked through, and their records sent again once the cause is gone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from features.errors import ConfigError
from sinks.deadletter import dead_letter
from streams.repair.dlq import place_of
from streams.repair.topic_reader import reading
from tests.streams.pipeline import Pipeline
from tests.streams.records import Sent, cards_of, now_ms, read_all, send, value_of, wait_acknowledged

VISA = "4111111111111111"
KEY = "0123456789abcdef0123456789abcdef"


def test_records_refused_for_want_of_a_key_are_scored_after_it_is_set(make_pipeline: Callable[..., Pipeline]) -> None:
    pipeline = make_pipeline(FRAUD_PAN_KEY="")
    # One time for both: which of them comes to its home first is not said.
    good, at_ms = next(cards_of(1, 4, "good")), now_ms()
    sent = [
        Sent(value_of(card_id=VISA, transaction_id="p1", event_time=at_ms), 0, VISA.encode(), (("trace", b"x"),)),
        Sent(value_of(card_id=VISA, transaction_id="p2", event_time=at_ms), 3),
        Sent(value_of(card_id=good, transaction_id="g1"), 1, good.encode()),
    ]
    places = send(pipeline, sent)
    role = pipeline.start("score").wait_ready()
    wait_acknowledged(pipeline)
    assert role.stop() == 0

    pipeline.variables["FRAUD_PAN_KEY"] = KEY
    choice = ("--reason", "pan_without_key")
    assert "2  to send" in pipeline.run("dlq", "resend", *choice, "--dry-run").stdout
    assert pipeline.run("dlq", "resend", *choice, check=False).returncode == 1, "nobody was there to say yes"
    assert len(read_all(pipeline, "transactions")) == len(sent)
    place = read_all(pipeline, "transactions.dlq")[0].place
    assert "1 sent" in pipeline.run("dlq", "resend", "{}:{}".format(*place), "--yes").stdout
    done = pipeline.run("dlq", "resend", *choice, "--yes").stdout
    assert "1 sent" in done
    assert "1  not: sent again before" in done

    # Histories that are made anew now hold each of them once, where it was scored: sent again.
    pipeline.run("replay")
    role = pipeline.start("score").wait_ready()
    wait_acknowledged(pipeline)
    again = [raw for raw in read_all(pipeline, "transactions") if raw.header("resent_from")]
    assert {raw.header("resent_source") for raw in again} == {b"%d:%d" % places[0], b"%d:%d" % places[1]}
    assert {raw.value for raw in again} == {sent[0].value, sent[1].value}
    assert {raw.header("trace") for raw in again} == {b"x", None}
    outcomes = {raw.json()["transaction_id"]: raw.json() for raw in read_all(pipeline, "processed_transactions")}
    assert outcomes.keys() == {"g1", "p1", "p2"}
    assert sorted(outcomes[t]["fraud"]["features"]["num_trans_last_1w"] for t in ("p1", "p2")) == [1, 2]
    assert "duplicate" not in outcomes["p1"]["fraud"]
    assert VISA not in json.dumps(outcomes)
    assert role.stop() == 0


def letter(
    pipeline: Pipeline,
    topic: str,
    place: tuple[int, int],
    value: bytes,
    *,
    reason: str = "poison",
    timestamp_ms: int = 1,
) -> Sent:
    """A dead letter about a record, as a role would have written it."""
    body = dead_letter(
        reason,
        "it fails by itself",
        topic=f"{pipeline.prefix}{topic}",
        partition=place[0],
        offset=place[1],
        timestamp_ms=timestamp_ms,
        key=None,
        value=value,
    )
    return Sent(body, 0, None, (("reason", reason.encode()),))


def test_letters_are_counted_chosen_and_shown_without_card_numbers(pipeline: Pipeline) -> None:
    card = value_of(card_id=VISA)
    letters = [letter(pipeline, "transactions", (place, 5), card, reason="poison") for place in (0, 1)]
    letters.append(letter(pipeline, "transactions", (3, 8), b"{", reason="not_json"))
    send(pipeline, [*letters, Sent(b"junk", 2)], "transactions.dlq")
    listed = pipeline.run("dlq", "list", "--newest", "2").stdout
    for line in ("2  poison", "1  not_json", "1  (records that are no dead letters)", "3  in all"):
        assert line in listed
    assert len([line for line in listed.splitlines() if "transactions" in line]) == 2
    chosen = ("--reason", "poison", "--partition", "1", "--since", "2024-01-01T00:00:00Z")
    assert "1  in all" in pipeline.run("dlq", "list", *chosen).stdout
    assert "0  in all" in pipeline.run("dlq", "list", "--since", "2999-01-01T00:00:00Z").stdout
    shown = pipeline.run("dlq", "show", "--source", "1:5").stdout
    assert json.loads(shown)["place"] == "0:1"
    assert json.loads(shown)["reason"] == "poison"
    assert VISA not in shown + listed
    assert pipeline.run("dlq", "show", "0:1").stdout == shown
    assert pipeline.run("dlq", "show", "0:9999", check=False).returncode == 78


def test_what_its_topic_holds_no_more_is_sent_from_a_whole_payload_alone(
    pipeline: Pipeline, kafka_admin: AdminClient
) -> None:
    whole, scrubbed = value_of(transaction_id="w"), value_of(transaction_id="s", device_id=VISA)
    long = value_of(transaction_id="l", x="y" * 70_000)
    places = send(pipeline, [Sent(whole, 2), Sent(scrubbed, 2), Sent(long, 2), Sent(value_of(), 2)])
    pairs = zip(places, (whole, scrubbed, long), strict=False)
    send(pipeline, [letter(pipeline, "transactions", place, value) for place, value in pairs], "transactions.dlq")
    send(pipeline, [letter(pipeline, "elsewhere", (0, 0), whole), Sent(b"junk", 0)], "transactions.dlq")
    gone = TopicPartition(f"{pipeline.prefix}transactions", 2, 3)
    kafka_admin.delete_records([gone])[gone].result(30)
    done = pipeline.run("dlq", "resend", "--reason", "poison", "--yes").stdout
    assert "1 sent" in done
    assert "2  not: no longer in its topic" in done
    assert "1  not: of a topic that is not ours" in done
    assert "1  (records that are no dead letters)" in pipeline.run("dlq", "list").stdout
    with reading(pipeline.bootstrap, f"{pipeline.prefix}transactions") as reader:
        last = reader.record_at(2, 4)
    assert last is not None
    assert last.value() == whole
    assert "1  not: sent again before" in pipeline.run("dlq", "resend", "0:0", "--yes").stdout


def test_an_outcome_that_was_refused_is_sent_to_the_topic_of_the_outcomes(pipeline: Pipeline) -> None:
    (place,) = send(
        pipeline, [Sent(b'{"an":"outcome"}', 1, b"c", (("outcome", b"approve"),))], "processed_transactions"
    )
    (raw,) = read_all(pipeline, "processed_transactions")
    told = letter(pipeline, "processed_transactions", place, raw.value or b"", timestamp_ms=raw.timestamp_ms)
    # A header that claims it was sent before, on another record.
    send(pipeline, [Sent(b"other", 1, None, (("resent_source", b"1:0"),))], "processed_transactions")
    send(pipeline, [told, told], "transactions.dlq")
    done = pipeline.run("dlq", "resend", "--partition", "1", "--yes").stdout
    assert "1 sent" in done
    assert "1  not: of a record that another letter is about too" in done
    again = read_all(pipeline, "processed_transactions")[-1]
    assert (again.key, again.value, again.header("outcome")) == (b"c", raw.value, b"approve")
    assert again.header("resent_from") == b"0:0"
    assert "0  to send" in pipeline.run("dlq", "resend", "0:1", "--yes").stdout


@pytest.mark.parametrize(
    "words",
    [("resend",), ("resend", "7"), ("resend", "99:1"), ("list", "--since", "now"), ("list", "--reason", "bad luck")],
    ids=" ".join,
)
def test_wrong_choices_are_one_line(pipeline: Pipeline, words: tuple[str, ...]) -> None:
    done = pipeline.run("dlq", *words, check=False)
    assert done.returncode == 78
    assert "Traceback" not in done.stderr


def test_a_place_is_two_numbers() -> None:
    assert place_of("3:14") == (3, 14)
    for text in ("", "3", ":", "3:", ":4", "-1:2", "3:4:5", "a:b"):
        with pytest.raises(ConfigError):
            place_of(text)
