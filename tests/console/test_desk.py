"""What analysts do, through the JSON API: once, by one of them, durable, and undone."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from console.desk import new_id
from tests.console.conftest import Site, enough
from tests.console.seed import PAN
from tests.support import wait_until


def answer(client: httpx.Client, case: dict[str, str], label: str, **more: Any) -> httpx.Response:
    return client.post("/api/case/answer", json={**case, "label": label, **more})


def seen_of(client: httpx.Client, case: dict[str, str]) -> dict[str, Any]:
    return dict(client.get("/api/case", params=case).raise_for_status().json())


def test_an_answer_is_one_label_with_what_the_outcome_says(site: Site, api):
    case = site.case("tx-whole", score=712, amount=12345, fraud={"clock_skew_ms": 5000})

    said = answer(api("ana"), case, "fraud", note="called the holder").json()

    assert (said["done"], said["saved"]) == (True, True)
    (label,) = site.labels("tx-whole")
    assert label.label_id == said["label_id"]
    assert (label.card_id, label.label, label.source) == ("card-tx-whole", "fraud", "analyst")
    assert (label.analyst, label.note) == ("ana", "called the holder")
    assert (label.outcome, label.score, label.probability, label.amount_minor) == ("review", 712, 0.712, 12345)
    assert (label.model, label.ruleset, label.currency) == ("xgb-20260101", "rs-1", "EUR")
    assert label.event_ms == site.now_ms - 3_600_000 - 5000


def test_clicked_twice_or_sent_again_it_is_one_label(site: Site, api):
    case, label_id = site.case("tx-twice"), new_id()
    client = api("ana")

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: answer(client, case, "valid", label_id=label_id).json()["done"], range(4)))
    assert answer(client, case, "valid", label_id=label_id).json()["done"]

    assert said == [True] * 4
    assert len(site.labels("tx-twice")) == 1


def test_it_shows_at_once_and_reaches_opensearch(site: Site, api):
    case = site.case("tx-shown")
    client = api("ana")
    assert seen_of(client, case)["state"] == "open"

    answer(client, case, "undecided")
    at_once = seen_of(client, case)
    assert (at_once["state"], at_once["said"]["analyst"]) == ("escalated", "ana")

    (in_queue,) = client.get("/api/cases", params={"q": "tx-shown"}).json()["cases"]
    assert in_queue["said"]["label"] == "undecided"
    stands = wait_until(lambda: (seen := seen_of(client, case))["said"]["indexed"] and seen, 30)
    assert (stands["state"], stands["said"]["label"]) == ("escalated", "undecided")


def test_what_somebody_works_on_nobody_else_answers(site: Site, api):
    case = site.case("tx-held")
    assert api("ana").post("/api/case/claim", json=case).status_code == 200

    for refused in (
        answer(api("ben"), case, "fraud"),
        api("ben").post("/api/case/claim", json=case),
        api("ben").post("/api/case/release", json=case),
    ):
        assert (refused.status_code, refused.json()["word"]) == (409, "held")
        assert "ana is working on this case" in refused.json()["text"]
    assert seen_of(api("ben"), case)["holder"] == "ana"
    assert not site._labels("tx-held")

    assert api("ana").post("/api/case/release", json=case).json()["word"] == "released"
    assert answer(api("ben"), case, "fraud").status_code == 200
    assert [label.analyst for label in site.labels("tx-held")] == ["ben"]


def test_of_many_who_claim_at_once_one_has_it(site: Site, api):
    case = site.case("tx-race")
    clients = [api(name) for name in ("ana", "ben", "olga") for _ in range(3)]

    with ThreadPoolExecutor(9) as pool:
        words = list(pool.map(lambda client: client.post("/api/case/claim", json=case).json()["word"], clients))

    assert words.count("claimed") == 3  # the one who has it, three times
    assert words.count("held") == 6


def test_of_two_who_answer_at_once_the_second_is_told(site: Site, api):
    case = site.case("tx-two")
    seen_of(api("ana"), case)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda name: answer(api(name), case, "fraud").status_code, ("ana", "ben")))

    assert sorted(found) == [200, 409]
    assert len(site.labels("tx-two")) == 1
    # Whoever has seen the answer may give another.
    seen = seen_of(api("ben"), case)["said"]["at"]
    assert answer(api("ben"), case, "valid", seen=seen).status_code == 200


def test_an_answer_is_taken_back_by_who_gave_it_or_an_admin(site: Site, api):
    case = site.case("tx-undo")
    answer(api("ana"), case, "fraud")
    seen = seen_of(api("ana"), case)["said"]["at"]

    refused = answer(api("ben"), case, "withdrawn", seen=seen)
    assert (refused.status_code, refused.json()["word"]) == (403, "not_yours")

    assert answer(api("ana"), case, "withdrawn", seen=seen).json()["word"] == "undone"
    undone = seen_of(api("ana"), case)
    assert (undone["state"], undone["said"]["label"]) == ("open", "withdrawn")
    again = answer(api("ana"), case, "withdrawn", seen=undone["said"]["at"])
    assert (again.status_code, again.json()["word"]) == (409, "nothing")
    labels = site.labels("tx-undo", 2)
    assert [label.label for label in labels] == ["fraud", "withdrawn"]
    assert labels[0].labelled_at < labels[1].labelled_at


def test_viewers_read_and_admins_take_over(site: Site, api):
    case = site.case("tx-roles")
    api("ana").post("/api/case/claim", json=case)

    for path in ("claim", "release", "answer"):
        body = {**case, "label": "fraud"} if path == "answer" else case
        assert api("vic").post(f"/api/case/{path}", json=body).status_code == 403
    assert api("vic").get("/api/audit").status_code == 403
    assert api("vic").get("/api/cases").status_code == 200
    assert api("olga").post("/api/case/claim", json=case | {"take_over": True}).json()["word"] == "claimed"
    assert seen_of(api("ana"), case)["holder"] == "olga"
    # An analyst who asks for the same is not heard.
    assert api("ana").post("/api/case/claim", json=case | {"take_over": True}).status_code == 409


def test_the_trail_says_who_did_what_when(site: Site, api):
    case = site.case("tx-trail")
    api("ana").post("/api/case/claim", json=case)
    answer(api("ana"), case, "fraud", note=f"card {PAN} was stolen")
    seen = seen_of(api("olga"), case)["said"]["at"]
    answer(api("olga"), case, "withdrawn", seen=seen)

    def ours() -> list[dict[str, Any]]:
        found = api("olga").get("/api/audit").json()
        return [event for event in reversed(found) if event.get("transaction_id") == "tx-trail"]

    events = wait_until(lambda: enough(ours(), 3), 20)
    assert [(event["actor"], event["action"]) for event in events] == [
        ("ana", "claim"), ("ana", "answer"), ("olga", "undo"),
    ]  # fmt: skip
    assert (events[1]["label"], events[2]["other"]) == ("fraud", "ana")
    assert [event["via"] for event in events] == ["token"] * 3
    assert [e for e in site.events() if e.get("transaction_id") == "tx-trail"] == events
    # Nobody's card number stands in it, nor in the label.
    assert PAN not in json.dumps(events)
    assert PAN not in str(site.labels("tx-trail", 2)[0].note)
    # An analyst sees what they did themselves.
    assert {event["actor"] for event in api("ana").get("/api/audit").json()} == {"ana"}


def test_while_opensearch_is_away_an_open_case_is_answered(site: Site, api, opensearch_away):
    case, unseen = site.case("tx-away"), site.case("tx-unseen")
    client = api("ana")
    seen_of(client, case)
    opensearch_away()

    assert seen_of(client, case)["outcome"]["amount"] == 42.5
    assert answer(client, case, "fraud").json()["saved"]
    assert [label.label for label in site.labels("tx-away")] == ["fraud"]
    refused = answer(client, unseen, "fraud")
    assert (refused.status_code, refused.json()["word"]) == (503, "away")
    assert "FRAUD_OPENSEARCH_URL" in refused.json()["text"]
    queue = client.get("/api/cases")
    assert queue.status_code == 503


def test_while_kafka_is_away_the_answer_is_kept_and_sent_later(site: Site, api):
    case = site.case("tx-kept")
    client = api("ana")
    seen_of(client, case)
    site.stack.suspend("kafka")
    try:
        said = answer(client, case, "fraud").json()
        assert (said["done"], said["saved"]) == (True, False)
        assert "kept" in said["text"]
        assert seen_of(client, case)["said"]["saved"] is False
    finally:
        site.stack.resume("kafka")

    assert [label.label_id for label in site.labels("tx-kept")] == [said["label_id"]]
    wait_until(lambda: seen_of(client, case)["said"]["saved"], 20)


@pytest.mark.parametrize(
    "body",
    [
        {}, {"card_id": "c"}, {"card_id": "c", "transaction_id": "t", "label": "maybe"},
        {"card_id": "c", "transaction_id": "t", "label": "fraud", "note": "x" * 4001},
        {"card_id": "c", "transaction_id": "t", "label": "fraud", "label_id": "short"},
        {"card_id": "c", "transaction_id": "t", "label": "fraud", "more": 1},
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(api, body):
    assert api("ana").post("/api/case/answer", json=body).status_code == 422


def test_a_case_that_is_none_is_not_found(api):
    nowhere = {"card_id": "nobody", "transaction_id": "nothing"}

    assert api("ana").get("/api/case", params=nowhere).status_code == 404
    assert answer(api("ana"), nowhere, "fraud").json()["word"] == "nothing"


def test_the_api_is_described(api):
    found = api("vic").get("/api/openapi.json").json()

    assert set(found["paths"]) == {
        "/api/me", "/api/cases", "/api/case", "/api/case/claim", "/api/case/release", "/api/case/answer",
        "/api/overview", "/api/audit",
    }  # fmt: skip
    assert set(found["components"]["schemas"]["AnswerIn"]["properties"]["label"]["enum"]) == {
        "fraud", "valid", "undecided", "withdrawn",
    }  # fmt: skip


def test_the_overview_counts_what_is_there(site: Site, api):
    found = api("vic").get("/api/overview", params={"span": "7d"}).json()
    index = f"{site.prefix}processed_transactions"
    since = {"range": {"event_time": {"gte": site.now_ms - 7 * 86_400_000 - 14_400_000, "format": "epoch_millis"}}}

    def count(outcome: str) -> int:
        wanted = {"bool": {"filter": [since, {"term": {"fraud.outcome": outcome}}]}}
        return int(site.direct.count(index=index, body={"query": wanted})["count"])

    assert sum(found["counts"].values()) > 400
    assert abs(found["counts"]["block"] - count("block")) <= 1
    assert sum(sum(bar["counts"].values()) for bar in found["traffic"]) == sum(found["counts"].values())
    assert sum(sum(bar["counts"].values()) for bar in found["scores"]) == sum(found["counts"].values())
    assert found["waiting"] > 0
    assert set(found["at_risk"]) <= {"EUR", "GBP", "USD", "JPY"}


def test_every_page_of_the_queue_in_both_directions(api):
    client, at, names = api("vic"), "", []
    while True:
        found = client.get("/api/cases", params={"state": "any", "mcc": "5732", "sort": "newest", "at": at}).json()
        names += [(one["card_id"], one["transaction_id"]) for one in found["cases"]]
        at = found["next"]
        if not at:
            break

    assert len(names) == len(set(names)) == found["total"]
    losses = [one["expected_loss"] for one in client.get("/api/cases").json()["cases"]]
    assert losses == sorted(losses, reverse=True)
