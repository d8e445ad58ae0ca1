"""Who comes in and who does not: logins, sessions, forgery, proxies, headers, and texts that would like to be code."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator

import httpx
import pytest
from redis import Redis

from console.sessions import Sessions
from console.users import Account
from features.redis_link import connect
from tests.console.conftest import PASSWORD, Site, address, address_of
from tests.console.seed import HOSTILE, PAN
from tests.security.servers import Certificates
from tests.support import wait_until

ACCOUNT = Account("ana", "analyst", "mark")


@pytest.fixture
def browser(site: Site) -> Iterator[httpx.Client]:
    """Somebody with cookies and no script."""
    with httpx.Client(base_url=site.url, timeout=20) as client:
        yield client


def log_in(client: httpx.Client, name: str = "ana", password: str = PASSWORD, **more: str) -> httpx.Response:
    token = hidden(client.get("/login").text, "csrf")
    return client.post("/login", data={"name": name, "password": password, "csrf": token, **more})


def hidden(page: str, name: str) -> str:
    return re.findall(rf'name="{name}" value="([^"]*)"', page)[0]


def test_without_a_login_there_is_the_form_and_nothing_else(browser: httpx.Client):
    for path in ("/", "/queue", "/case?card=a&transaction=b", "/overview", "/overview/parts", "/audit"):
        answer = browser.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login")
    for path in ("/api/me", "/api/cases", "/api/openapi.json", "/api/audit"):
        assert browser.get(path).status_code == 401
    assert browser.post("/case/answer", data={"card": "a", "transaction": "b"}).status_code == 303
    assert browser.get("/docs").status_code == browser.get("/openapi.json").status_code == 404


def test_a_login_leads_to_where_one_wanted_to_go_and_nowhere_else(browser: httpx.Client):
    assert log_in(browser, next="/overview?span=7d").headers["location"] == "/overview?span=7d"
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"):
        assert log_in(browser, next=elsewhere).headers["location"] == "/"


def test_the_session_cookie_is_out_of_reach(browser: httpx.Client, redis_client: Redis, site: Site):
    cookie = next(c for c in log_in(browser).headers.get_list("set-cookie") if c.startswith("fraud_session="))

    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie  # this one speaks no TLS
    token = cookie.split("=", 1)[1].split(";")[0]
    keys = [key.decode() for key in redis_client.scan_iter(f"{site.prefix}{{console}}:session:*")]
    assert keys
    assert not [key for key in keys if token in key]


def test_logging_out_ends_the_session_everywhere(browser: httpx.Client, site: Site):
    log_in(browser)
    stolen = browser.cookies["fraud_session"]
    csrf = hidden(browser.get("/queue").text, "csrf")
    assert browser.post("/logout", data={"csrf": csrf}).status_code == 303

    assert httpx.get(f"{site.url}/queue", cookies={"fraud_session": stolen}).status_code == 303


@pytest.mark.parametrize(
    ("headers", "csrf"),
    [
        ({}, ""), ({}, "wrong"), ({"origin": "https://evil.example"}, None), ({"origin": "null"}, None),
        ({"sec-fetch-site": "cross-site"}, None),
    ],
)  # fmt: skip
def test_what_another_site_sends_changes_nothing(browser: httpx.Client, site: Site, headers, csrf):
    case = site.case("tx-forged")
    log_in(browser)
    good = hidden(browser.get("/queue").text, "csrf")
    fields = {"card": case["card_id"], "transaction": case["transaction_id"], "label": "fraud", "label_id": "f" * 32}

    answer = browser.post("/case/answer", data=fields | {"csrf": good if csrf is None else csrf}, headers=headers)

    assert answer.status_code == 403
    assert not site._labels("tx-forged")


def test_the_same_form_from_our_own_page_is_taken_without_a_script(browser: httpx.Client, site: Site):
    case = site.case("tx-plain")
    log_in(browser)
    page = browser.get(address_of(case)).text
    fields = {"card": case["card_id"], "transaction": case["transaction_id"], "label": "valid", "note": "fine"}

    answer = browser.post(
        "/case/answer", data=fields | {"csrf": hidden(page, "csrf"), "label_id": hidden(page, "label_id")}
    )

    assert (answer.status_code, answer.headers["location"]) == (303, f"{address_of(case)}&done=answered")
    assert "by you" in browser.get(answer.headers["location"]).text
    assert len(site.labels("tx-plain")) == 1


def test_whoever_guesses_is_slowed_down_and_the_rest_is_not(browser: httpx.Client, site: Site):
    for _ in range(5):
        assert log_in(browser, "ben", "guessed-wrong").status_code == 401
    locked = log_in(browser, "ben")
    assert (locked.status_code, "Too many failures" in locked.text) == (429, True)
    assert log_in(browser, "ana").status_code == 303

    refused = wait_until(lambda: [e for e in site.events() if e["action"] == "login_refused"])
    assert {event["actor"] for event in refused} == {"ben"}
    assert "guessed-wrong" not in site.console.log()


def test_a_name_that_nobody_has_is_not_kept(browser: httpx.Client, site: Site):
    answer = log_in(browser, "my-secret-password", "x")

    assert answer.status_code == 401
    assert "Name or password is wrong" in answer.text
    wait_until(lambda: [event for event in site.events() if event["actor"] == "unknown"])
    assert "my-secret-password" not in str(site.events())


def test_every_answer_ties_the_browsers_hands(browser: httpx.Client):
    log_in(browser)
    for path in ("/login", "/queue", "/overview", "/nothing", "/api/me", "/static/console.js"):
        headers = browser.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert ("no-store" in headers["cache-control"]) != path.startswith("/static/")
        assert "server" not in headers


def test_no_page_needs_anything_from_elsewhere_or_inline(browser: httpx.Client, site: Site):
    log_in(browser, "olga")
    case = site.case("tx-inline")
    for path in ("/login", "/queue", address_of(case), "/overview?span=7d", "/audit", "/nothing"):
        page = browser.get(path).text
        assert not re.findall(r'(?:src|href|action)="(?!/|#)', page), path
        tags = re.sub(r'"[^"]*"', '""', page)  # what stands in a value is text
        assert not re.findall(r"<style|<[^<>]*\s(?:style|on[a-z]+)=", tags), path
        assert "javascript:" not in page, path
        assert not re.findall(r"<script(?![^>]*\ssrc=)", page), path


def test_hostile_texts_stay_text_everywhere(browser: httpx.Client, site: Site):
    texts = dict.fromkeys(("merchant_id", "merchant_category", "country", "channel", "device_id", "email"), HOSTILE)
    reasons = [{"code": HOSTILE, "text": HOSTILE, "feature": HOSTILE, "value": 1, "contribution": 1.5}]
    case = site.case(f"tx-{HOSTILE}", card=f"card-{HOSTILE}", fraud={"reasons": reasons, "rule": HOSTILE}, **texts)
    log_in(browser, "olga")
    for path in (address_of(case), "/queue?state=any&sort=newest", f"/queue?q=tx-{HOSTILE[:20]}", "/overview?span=1h"):
        page = browser.get(path).text
        assert "<script>alert" not in page, path
        assert "<img" not in page, path
        assert "49}}" not in page
        assert "{{49" not in page
    assert "&lt;script&gt;alert(1)" in browser.get(address_of(case)).text


def test_a_card_number_is_shown_by_its_last_four_digits(browser: httpx.Client, site: Site):
    more = {"merchant_id": f"shop {PAN}", "email": f"{PAN}@example.com", "card_last4": "1111"}
    case = site.case(f"tx-{PAN}", card="tok_abc", **more)
    log_in(browser)

    page = browser.get(address_of(case)).text
    shown = re.sub(r'(?:href|value)="[^"]*"', "", page)  # an id is asked for as it is

    assert PAN not in shown
    assert "•••• 1111" in shown


def test_a_card_number_in_the_search_does_not_stay_in_the_address(browser: httpx.Client):
    log_in(browser)
    answer = browser.get("/queue", params={"q": "4111 1111 1111 1111"})

    assert answer.status_code == 303
    assert "1111+1111" not in answer.headers["location"]
    assert "q=1111&" in answer.headers["location"]


@pytest.mark.parametrize(
    "path",
    ["/case", "/case?card=a", "/case?card=%00&transaction=%0d%0a", "/queue?at=%ff", "/queue?min_amount=1e999",
     "/queue?q=" + "x" * 5000, "/overview?span=../../etc", "/static/../app.py", "/static/%2e%2e/room.py"],
)  # fmt: skip
def test_odd_addresses_break_nothing(browser: httpx.Client, path: str):
    log_in(browser)

    assert browser.get(path).status_code in {200, 404}


def test_a_request_that_is_too_large_is_refused(browser: httpx.Client):
    log_in(browser)

    assert browser.post("/case/answer", data={"note": "x" * 70_000}).status_code == 413
    assert browser.post("/case/answer", content=iter([b"x" * 10] * 3)).status_code == 413


def test_a_session_ends_after_its_time_and_after_idleness(site: Site, redis_client: Redis, unique: str):
    async def live() -> None:
        client = connect(site.variables["FRAUD_REDIS_URL"])
        sessions = Sessions(client, unique, longest_ms=8 * 3_600_000, idle_ms=60_000)
        token, session = await sessions.begin(ACCOUNT, "password", 1_000)
        assert await sessions.find(token, 2_000) == session
        assert await sessions.find(f"{token}x", 2_000) is None
        (key,) = redis_client.scan_iter(f"{unique}*")
        redis_client.pexpire(key, 30_000)
        await sessions.find(token, 3_000, active=False)
        assert redis_client.pttl(key) <= 30_000
        await sessions.find(token, 3_000)
        assert 30_000 < redis_client.pttl(key) <= 60_000
        assert await sessions.find(token, 1_000 + 8 * 3_600_000 + 1) is None
        assert not list(redis_client.scan_iter(f"{unique}*"))
        await client.aclose()

    asyncio.run(live())


@pytest.fixture(scope="module")
def behind_proxy(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second console of the same site that speaks TLS and believes a proxy on the loopback address."""
    certificates = Certificates(tmp_path_factory.mktemp("tls"))
    certificate, key = certificates.server, certificates.server
    console = site.start(
        FRAUD_CONSOLE_SSL_CERTIFICATE=str(certificate), FRAUD_CONSOLE_SSL_KEY=str(key),
        FRAUD_CONSOLE_PROXIES="127.0.0.1, 10.0.0.0/8", FRAUD_CONSOLE_PROXY_HEADER="X-Forwarded-User",
    ).wait_ready()  # fmt: skip
    site.trust = ssl.create_default_context(cafile=certificates.ca)
    yield address(console)
    assert console.stop() == 0


def test_a_proxy_logs_in_whom_the_users_file_knows(site: Site, behind_proxy: str):
    with httpx.Client(base_url=behind_proxy, verify=site.trust) as client:
        assert client.get("/queue").status_code == 303
        entered = client.get("/queue", headers={"X-Forwarded-User": "ana"})
        assert entered.status_code == 200
        cookie = next(c for c in entered.headers.get_list("set-cookie") if c.startswith("__Host-fraud_session="))
        assert "Secure" in cookie
        assert "max-age" in entered.headers["strict-transport-security"]
        csrf = hidden(entered.text, "csrf")
        assert client.get("/api/me", headers={"X-Forwarded-User": "ana"}).json()["csrf"] == csrf
        # The session alone is nothing: the proxy must say so each time, and for the same person.
        assert client.get("/queue").status_code == 303
        assert client.get("/api/me", headers={"X-Forwarded-User": "ben"}).json()["csrf"] != csrf
        assert client.get("/queue", headers={"X-Forwarded-User": "stranger"}).status_code == 403


def test_the_header_of_whoever_is_no_proxy_is_not_heard(browser: httpx.Client):
    assert browser.get("/queue", headers={"X-Forwarded-User": "olga"}).status_code == 303


def test_health_and_metrics_stand_beside_it(site: Site, api):
    api("ana").get("/api/cases")

    assert site.console.get("/health/live")[0] == 200
    metrics = site.console.get("/metrics")[1]
    assert 'fraud_build_info{feature_set="",model="",role="console"' in metrics
    assert 'fraud_console_answers_total{label="fraud"}' in metrics
    assert float(re.findall(r"fraud_console_request_seconds_count (\S+)", metrics)[0]) > 0
