"""Channels against real servers: what arrives, and what a server that misbehaves does to us."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from streams.alert.apprise_channel import AppriseChannel
from streams.alert.courier import Courier, DryRun
from streams.alert.errors import ChannelAway, MessageRefused
from streams.alert.message import Message, digest_id, payload
from streams.alert.text import body_of, title_of
from streams.alert.webhook import WebhookChannel
from tests.streams.alert_records import KEY, NOW_MS, alert
from tests.streams.receivers import HttpReceiver, SmtpReceiver
from tests.support import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
# A process of its own: the logging of the test run would hear more than ours lets through.
SPOKEN = """
import sys
from pydantic import SecretStr
from fraudstream.logs import configure_logging
from streams.alert.apprise_channel import AppriseChannel
from streams.alert.errors import ChannelAway
from streams.alert.message import sample

configure_logging("debug")
try:
    AppriseChannel(SecretStr(sys.argv[1]), 5).send(sample("desk"), 0)
except ChannelAway as exc:
    print("said:", exc)
"""
PAN = "4111111111111111"
OLD_KEY = "whsec_" + base64.b64encode(b"o" * 32).decode()


@pytest.fixture
def http():
    receiver = HttpReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def smtp():
    receiver = SmtpReceiver()
    yield receiver
    receiver.close()


def single(number=1, **changed) -> Message:
    one = alert(number, **changed)
    return Message(1, "cases", one.id, [one], NOW_MS)


def digest(count: int) -> Message:
    alerts = [alert(n, fraud={"score": n}) for n in range(count)]
    return Message(1, "cases", digest_id([one.id for one in alerts]), alerts, NOW_MS)


def webhook(url: str, timeout_s: float = 5.0) -> WebhookChannel:
    return WebhookChannel(SecretStr(url), [SecretStr(KEY), SecretStr(OLD_KEY)], timeout_s)


def test_a_webhook_is_signed_over_id_time_and_body(http):
    webhook(http.url()).send(single(), NOW_MS)

    (post,) = http.posts
    stamp = post.headers["webhook-timestamp"]
    assert (post.path, post.headers["content-type"], stamp) == ("/hook", "application/json", str(NOW_MS // 1000))
    assert post.headers["webhook-id"] == alert(1).id
    signed = f"{alert(1).id}.{stamp}.".encode() + post.body
    expected = [
        "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        for key in (KEY.encode(), b"o" * 32)
    ]
    assert post.headers["webhook-signature"].split(" ") == expected
    body = json.loads(post.body)
    assert (body["type"], body["id"]) == ("alert", alert(1).id)
    assert (body["alert"]["amount"], body["alert"]["record"]) == (12.5, "processed_transactions:0:1")


def test_the_receiver_of_the_documentation_knows_what_is_genuine(http):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "alerts.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    webhook(http.url()).send(single(), NOW_MS)

    (post,) = http.posts
    is_genuine = names["is_genuine"]
    assert is_genuine(KEY.encode(), post.headers, post.body)
    assert is_genuine(b"o" * 32, post.headers, post.body)
    assert not is_genuine(b"x" * 32, post.headers, post.body)
    assert not is_genuine(KEY.encode(), post.headers, post.body + b" ")
    later = {**post.headers, "webhook-timestamp": str(NOW_MS // 1000 + 1)}
    assert not is_genuine(KEY.encode(), later, post.body)


def test_a_repeat_has_the_same_bytes_and_id(http):
    webhook(http.url()).send(single(), NOW_MS)
    webhook(http.url()).send(single(), NOW_MS + 60_000)

    first, second = http.posts
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_a_digest_is_one_message(http):
    webhook(http.url()).send(digest(3), NOW_MS)

    body = json.loads(http.posts[0].body)
    assert (body["type"], len(body["alerts"])) == ("digest", 3)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(http, status):
    http.answer = lambda _: status

    with pytest.raises(ChannelAway, match=str(status)):
        webhook(http.url()).send(single(), NOW_MS)
    assert [post.path for post in http.posts] == ["/hook"]


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, MessageRefused), (413, MessageRefused), (422, MessageRefused)]
    + [(status, ChannelAway) for status in (401, 403, 404, 408, 410, 429, 500, 502, 503)],
)
def test_answers_that_are_none(http, status, error):
    http.answer = lambda _: status

    with pytest.raises(error, match=str(status)):
        webhook(http.url("/secret-token")).send(single(), NOW_MS)


def test_nobody_there_is_told_without_the_address(http):
    url = http.url("/secret-token")
    http.close()

    with pytest.raises(ChannelAway, match="refused") as caught:
        webhook(url).send(single(), NOW_MS)
    assert "secret-token" not in str(caught.value)


def test_a_receiver_that_hangs_is_not_waited_for(http):
    http.hanging.clear()
    courier = Courier(webhook(http.url(), timeout_s=0.3))

    async def attempts() -> float:
        began_s = time.monotonic()
        with pytest.raises(ChannelAway, match=r"no answer|hangs"):
            await courier.carry(single(), NOW_MS)
        return time.monotonic() - began_s

    assert asyncio.run(attempts()) < 2


def test_there_is_never_more_than_one_attempt_under_way():
    class Hanging:
        deadline_s = 0.05
        calls = 0

        def send(self, message: Message, now_ms: int) -> None:
            del message, now_ms
            self.calls += 1
            time.sleep(0.4)

    async def attempts() -> int:
        hanging = Hanging()
        courier = Courier(hanging)
        for said in ("no answer within", "still hangs"):
            with pytest.raises(ChannelAway, match=said):
                await courier.carry(single(), NOW_MS)
        thread = courier._thread
        assert thread is not None
        await asyncio.to_thread(thread.join)
        with pytest.raises(ChannelAway, match="no answer within"):
            await courier.carry(single(), NOW_MS)
        await asyncio.to_thread(courier._thread.join)
        return hanging.calls

    assert asyncio.run(attempts()) == 2


def test_whatever_a_service_raises_is_its_own_outage():
    class Broken:
        deadline_s = 5.0

        def send(self, message: Message, now_ms: int) -> None:
            del message, now_ms
            raise ZeroDivisionError("https://token@host")

    with pytest.raises(ChannelAway, match=r"^the attempt fails with ZeroDivisionError$"):
        asyncio.run(Courier(Broken()).carry(single(), NOW_MS))


def test_a_mail_arrives(smtp):
    url = f"mailto://127.0.0.1:{smtp.port}?from=fraud@example.org&to=desk@example.org&mode=insecure"
    reasons = [{"text": "6 transactions in the last 10 minutes"}]
    AppriseChannel(SecretStr(url), 5).send(single(fraud={"reasons": reasons, "rule": "geo"}), NOW_MS)

    (mail,) = wait_until(lambda: smtp.mails)
    text = mail.get_body(("plain", "html")).get_content()
    assert mail["subject"] == "BLOCK (score 900): 12.5 EUR on card tok_a"
    assert "6 transactions in the last 10 minutes" in text
    assert "decided by rule geo" in text
    assert alert(1).id in text


def test_apprise_says_what_went_wrong(http):
    channel = AppriseChannel(SecretStr(f"json://user:pass-word-1@127.0.0.1:{http.port}/secret-token"), 5)
    channel.send(single(), NOW_MS)
    assert json.loads(http.posts[0].body)["type"] == "failure"
    for status in (503, 302):
        http.answer = lambda _, status=status: status
        with pytest.raises(ChannelAway, match=str(status)):
            channel.send(single(), NOW_MS)
    assert {post.path for post in http.posts} == {"/secret-token"}


def test_no_secret_is_logged_even_at_debug(http):
    http.answer = lambda _: 500
    url = f"json://user:pass-word-1@127.0.0.1:{http.port}/secret-token"
    done = subprocess.run(
        [sys.executable, "-c", SPOKEN, url], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )

    assert len(http.posts) == 1
    assert "said: the service answers 500" in done.stdout
    assert "pass-word-1" not in done.stdout + done.stderr
    assert "secret-token" not in done.stdout + done.stderr


@settings(deadline=None)
@given(text=st.text(max_size=300))
def test_what_merchants_write_cannot_become_markup_or_lines(text):
    message = single(merchant_id=text.encode(errors="ignore").decode(), fraud={"rule": None})

    plain = single(merchant_id="m")
    assert title_of(message).isprintable()
    # A merchant without a name has no line at all.
    assert body_of(message).count("\n") == body_of(plain).count("\n") - (not message.alerts[0].merchant_id)
    assert not set("<>@`*[]") & set(body_of(message))


def test_no_card_number_is_in_any_message():
    names = ("merchant_id", "merchant_category", "country", "channel", "card_last4", "card_id")
    fields = dict.fromkeys(names, f"x {PAN} y")
    fraud = {"reasons": [{"text": f"card {PAN}"}], "rule": PAN, "degraded": PAN}
    message = single(transaction_id=PAN, fraud=fraud, **fields)

    assert PAN not in payload(message).decode() + body_of(message) + title_of(message) + message.id


def test_two_transactions_that_look_like_cards_are_two_alerts():
    assert alert(1, transaction_id=PAN).id != alert(1, transaction_id="5555555555554444").id


def test_personal_fields_stay_out():
    message = single(email="a@example.org", ip_address="192.0.2.1", device_id="device-7")

    for text in ("a@example.org", "192.0.2.1", "device-7"):
        assert text not in payload(message).decode() + body_of(message)


def test_a_long_digest_is_cut_for_people_and_whole_for_programs():
    message = digest(50)

    assert title_of(message) == "50 fraud alerts: 50 block"
    lines = body_of(message).splitlines()
    assert (len(lines), lines[20]) == (22, "and 30 more with lower scores")
    assert "(score 49)" in lines[0]
    assert len(json.loads(payload(message))["alerts"]) == 50


def test_a_dry_run_reaches_nobody(http):
    DryRun("cases").send(single(), NOW_MS)

    assert http.posts == []
    urllib.request.urlopen(urllib.request.Request(http.url(), b"", method="POST")).close()
    assert len(http.posts) == 1
